"""Train models on shards, adversarially or not, and print how much they learn.

python examples/verify.py shards
"""

import sys

import semshard


def main(shards: str, **settings: object) -> None:
    result = semshard.verify(shards, **({"rho_a": "2/255"} | settings))
    for each in result.attackers:
        print(f"{each.attacker.name}: {each.verdict}")
        for data, figures in each.data.items():
            print(f"    trained on {data:9}  clean accuracy {figures.final:.1%}, at best {figures.best:.1%}")
    print(result.verdict["sentence"], result.verdict["theory"])


if __name__ == "__main__":
    main(sys.argv[1])
