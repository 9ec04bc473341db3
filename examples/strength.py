"""What makes the noise strong: ideas beside each other, on your pictures and on drawn ones.

python examples/strength.py IMAGES OUT [SEED,…]

Protects with every idea below and lets the usual attackers of `semshard.verify` learn from what comes out. What is
finished stands in OUT/strength.json, so that the same call goes on where it stopped. Prints a table, the idea with the
weakest attackers first.
"""

import json
import statistics
import sys
from pathlib import Path

import semshard

# Name, what was expected before it was tried, settings of `protect`.
IDEAS = (
    ("paper", "falls to greyscale alone", {"views": "paper"}),
    ("hardened", "holds against greyscale, too", {"views": "hardened"}),
    ("grey in the noise step", "the surrogate knows no grey pictures: weaker", {"noise_views": "grey=0.5"}),
    (
        "grey in the model step",
        "the noise knows none: falls to greyscale",
        {"views": "grey=0.5", "noise_views": "paper"},
    ),
    ("JPEG", "holds against JPEG 10", {"views": "jpeg=0.5"}),
)
Row = dict[str, object]


def main(images: str, out: str, seeds: str = "0,1", ideas=IDEAS, drawn: int = 4000, **verify: object) -> None:
    path = Path(out) / "strength.json"
    rows: list[Row] = json.loads(path.read_text()) if path.exists() else []
    for seed in map(int, seeds.split(",")):
        for pictures, source in (("yours", images), ("shapes", f"shapes:{drawn}")):
            for name, prediction, settings in ideas:
                about = {
                    "idea": name,
                    "pictures": pictures,
                    "seed": seed,
                    "prediction": prediction,
                    "settings": settings,
                }
                if not any(about.items() <= row.items() for row in rows):
                    rows.append(about | examine(source, Path(out), f"{pictures}-{seed}", name, seed, settings, verify))
                    path.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def examine(source: str, out: Path, place: str, name: str, seed: int, settings: Row, verify: Row) -> Row:
    """The best accuracy of every attacker, in %, and the seconds of surrogate and crafting."""
    shards = out / place / name.replace(" ", "-")
    made = semshard.protect(source, shards, preset="quick", seed=seed, **settings)
    found = semshard.verify(shards, preset="quick", seed=seed, report=out / f"{place}.report", **verify)
    best = {
        kind: {each.attacker.name: round(100 * each.data[kind].best, 1) for each in found.attackers}
        for kind in ("clean", "protected")
    }
    return {"seconds": round(made.seconds["surrogate"] + made.seconds["craft"], 2), **best}


def table(rows: list[Row]) -> str:
    """Means over seeds, and half their range, as Markdown."""
    lines = []
    for pictures in dict.fromkeys(row["pictures"] for row in rows):
        here = [row for row in rows if row["pictures"] == pictures]
        attackers = list(here[0]["protected"])
        ideas = {idea: [row for row in here if row["idea"] == idea] for idea in dict.fromkeys(r["idea"] for r in here)}
        first = statistics.fmean(row["seconds"] for row in next(iter(ideas.values())))
        of = {
            idea: {name: [row["protected"][name] for row in mine] for name in attackers} for idea, mine in ideas.items()
        }
        of["originals"] = {name: [row["clean"][name] for row in next(iter(ideas.values()))] for name in attackers}
        strongest = {idea: max(map(statistics.fmean, values.values())) for idea, values in of.items()}
        lines += [f"| {pictures} | strongest | {' | '.join(attackers)} | cost |", "|---" * (len(attackers) + 3) + "|"]
        for idea in sorted(of, key=strongest.__getitem__):
            cells = [f"{statistics.fmean(v):.1f} ± {(max(v) - min(v)) / 2:.1f}" for v in of[idea].values()]
            cost = f"{statistics.fmean(row['seconds'] for row in ideas[idea]) / first:.1f}" if idea in ideas else ""
            lines.append(f"| {idea} | {strongest[idea]:.1f} | {' | '.join(cells)} | {cost} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
