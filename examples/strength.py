"""What makes the noise strong: ideas beside each other, on your pictures and on drawn ones.

python examples/strength.py IMAGES OUT [SEED,…] [IDEA,…]

Protects with every idea below and trains victims on the shards: on the pictures as they are, in greyscale and through
JPEG 10, and with adversarial training at half the budget. A second table has what the same victims read of the noise
alone (noise_alone.py), where IMAGES is a folder with a subfolder for each class. What is finished is kept in
OUT/strength.json, so the same call continues where it stopped, and calls with other seeds can run beside it. Prints
tables, the idea with the weakest attackers first. examples/results/strength.json holds such rows, measured on CIFAR-10
and on drawn shapes.
"""

import json
import shutil
import statistics
import sys
from pathlib import Path

import semshard

Row = dict[str, object]

# `hardened` as it was when the rows were measured: one network, which reads the noise.
HARDENED_TRAINING: Row = {
    "label_noise": 0.5, "warm_up": 0.5, "rho_a": "5/255", "steps": 800, "lr_every": 320, "final_draws": 3,
}  # fmt: skip
HARDENED: Row = {"views": "grey=0.5", **HARDENED_TRAINING}

# Name: what was expected before it was tried, settings of `protect`.
IDEAS: dict[str, tuple[str, Row]] = {
    "paper": ("falls to greyscale alone", {"views": "paper"}),
    "hardened": ("holds against greyscale, too", HARDENED),
    "hardened with 2 final draws and JPEG": (
        "holds against JPEG 10, weaker elsewhere",
        {"views": "grey=0.5,jpeg=0.2", **HARDENED_TRAINING, "final_draws": 2},
    ),
    "hardened and blur": ("holds against filters, too", {"views": "grey=0.5,blur=0.3", **HARDENED_TRAINING}),
    "paper at the cost of hardened": (
        "falls to greyscale: time is not what SEM lacks",
        {"views": "paper", "steps": 800, "lr_every": 320, "final_draws": 3},
    ),
    "hardened with 2 final draws": ("no different", {**HARDENED, "final_draws": 2}),
    "hardened without greyscale": ("falls to it, better elsewhere", {"views": "paper", **HARDENED_TRAINING}),
    "hardened without label noise": ("weaker everywhere", {**HARDENED, "label_noise": 0.0}),
    "hardened without warm-up": ("learns less of the noise", {**HARDENED, "warm_up": 0.0}),
    "hardened against 4/255": ("weaker against 4/255, better at 0", {**HARDENED, "rho_a": "4/255"}),
    "hardened in half the steps": ("does not settle", {**HARDENED, "steps": 400, "lr_every": 160}),
    "greyscale in the noise step only": (
        "the surrogate knows no grey pictures: weaker",
        {"views": "paper", "noise_views": "grey=0.5", **HARDENED_TRAINING},
    ),
    "greyscale in the model step only": (
        "the noise knows none: falls to greyscale",
        {**HARDENED, "noise_views": "paper"},
    ),
}
VICTIMS: tuple[Row, ...] = (
    {"countermeasure": "none,grey,jpeg-10", "rho_a": "0"},
    {"countermeasure": "none", "rho_a": "4/255"},
)


def main(
    images: str, out: str, seeds: str = "0,1", names: str = "", ideas=IDEAS, victims=VICTIMS, drawn: int = 4000
) -> None:
    path = Path(out) / "strength.json"
    for seed in map(int, seeds.split(",")):
        for pictures, source in (("yours", images), ("shapes", f"shapes:{drawn}")):
            for name in names.split(",") if names else ideas:
                prediction, settings = ideas[name]
                about = {"idea": name, "prediction": prediction, "settings": settings}
                about |= {"pictures": pictures, "seed": seed}
                if not any(about.items() <= row.items() for row in read(path)):
                    place = Path(out) / f"{pictures}-{seed}"
                    row = about | measured(source, place, name, seed, settings, victims)
                    row |= alone(source, place, name, seed, settings, victims)
                    path.write_text("[\n" + ",\n".join(map(json.dumps, [*read(path), row])) + "\n]\n")
    print(table(read(path)))


def read(path: Path) -> list[Row]:
    return json.loads(path.read_text()) if path.exists() else []


def measured(source: str, place: Path, name: str, seed: int, settings: Row, victims: tuple[Row, ...]) -> Row:
    """Every victim's best and final accuracy, in %, and the seconds of surrogate and crafting."""
    shards = place / name.replace(" ", "-")
    spent = Path(f"{shards}.seconds")
    if not spent.exists():  # an interrupted protection starts again, so that its time is that of the whole
        for folder in (shards, Path(f"{shards}.ledger")):
            shutil.rmtree(folder, ignore_errors=True)
        result = semshard.protect(source, shards, preset="quick", seed=seed, **settings)
        spent.write_text(f"{result.seconds['surrogate'] + result.seconds['craft']:.2f}")
    row: Row = {"seconds": float(spent.read_text())}
    for victim in victims:
        result = semshard.verify(shards, preset="quick", seed=seed, report=place / "report", **victim)
        for kind in ("clean", "protected"):
            for each in result.attackers:
                data = each.data[kind]
                row.setdefault(kind, {})[each.attacker.name] = [round(100 * data.best, 1), round(100 * data.final, 1)]
    return row


def alone(source: str, place: Path, name: str, seed: int, settings: Row, victims: tuple[Row, ...]) -> Row:
    """What every victim reads of the noise alone; nothing where the source is not a folder."""
    from noise_alone import noise_alone  # here, for pages are rendered without it

    from semshard.sources.shapes import write_shapes

    kind, _, count = source.partition(":")
    if kind == "shapes":
        source = str(place / "drawn")
        write_shapes(Path(source), int(count))
    if not Path(source).is_dir():
        return {}
    return {"alone": noise_alone(source, place / f"{name.replace(' ', '-')}-alone", seed, settings, victims)}


def table(rows: list[Row]) -> str:
    """Means of the best accuracies over seeds, and half their range, as Markdown; costs beside that of "paper". What is
    read of the noise alone has a table of its own, where it was measured.
    """
    lines = []
    for pictures in dict.fromkeys(row["pictures"] for row in rows):
        here = [row for row in rows if row["pictures"] == pictures]
        ideas = {idea: [row for row in here if row["idea"] == idea] for idea in dict.fromkeys(r["idea"] for r in here)}
        first = ideas["paper"]
        attackers = list(first[0]["protected"])
        best = {idea: [[r["protected"][a][0] for r in mine] for a in attackers] for idea, mine in ideas.items()}
        best["originals"] = [[row["clean"][a][0] for row in first] for a in attackers]
        strongest = {idea: max(map(statistics.fmean, columns)) for idea, columns in best.items()}
        seconds = {idea: statistics.fmean(row["seconds"] for row in mine) for idea, mine in ideas.items()}
        names = " | ".join(name.split(", ", 1)[1] for name in attackers)  # without the network
        lines += [f"| {pictures} | strongest | {names} | cost |", "|---" * (len(attackers) + 3) + "|"]
        for idea in sorted(best, key=strongest.__getitem__):
            cost = f"{seconds[idea] / seconds['paper']:.1f}" if idea in ideas else ""
            lines.append(f"| {idea} | {strongest[idea]:.1f} | {' | '.join(map(spread, best[idea]))} | {cost} |")
        lines.append("")
        read_alone = {idea: [row["alone"] for row in mine if row.get("alone")] for idea, mine in ideas.items()}
        if any(read_alone.values()):
            lines += [f"| {pictures}, the noise alone | {names} |", "|---" * (len(attackers) + 1) + "|"]
            for idea, found in read_alone.items():
                cells = [spread([one[a][0] for one in found]) if found else "" for a in attackers]
                lines.append(f"| {idea} | {' | '.join(cells)} |")
            lines.append("")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Their mean, and half their range where there are several."""
    half = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{half}"


if __name__ == "__main__":
    main(*sys.argv[1:])
