"""Ask what somebody learns from shards who trains on them, adversarially or not.

python examples/verify.py shards
"""

import sys

import semshard


def main(shards: str, **settings: object) -> None:
    found = semshard.verify(shards, **({"rho_a": "2/255"} | settings))
    for each in found.attackers:
        print(f"{each.attacker.name}: {each.word}")
        for data, figures in each.data.items():
            print(f"    trained on {data:9}  clean accuracy {figures.final:.1%}, at best {figures.best:.1%}")
    print(found.verdict["sentence"])


if __name__ == "__main__":
    main(sys.argv[1])
