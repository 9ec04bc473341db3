"""Ask what somebody learns from shards who trains on them, adversarially or not.

python examples/verify.py shards
"""

import sys

import semshard


def main(shards: str, **settings: object) -> None:
    found = semshard.verify(shards, **({"rho_a": ["0", "2/255"]} | settings))
    for result in found.results:
        print(f"trained on {result.data:9}  rho_a {255 * result.rho_a:.0f}/255  clean accuracy {result.final:.1%}")
    print("\n".join(found.verdict))


if __name__ == "__main__":
    main(sys.argv[1])
