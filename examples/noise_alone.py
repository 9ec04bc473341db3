"""What can be reached at all: how well victims read the noise alone.

python examples/noise_alone.py IMAGES OUT [SEED]

IMAGES is a folder with a subfolder for each class. Every image gets the label of another one at random, and the images
are protected with these labels, which the pictures say nothing about. Victims are trained on the published images and
tested on published images that they never saw: what they get right above chance, they read from the noise. Noise that
an attacker does not read cannot keep it from learning the pictures. The converse does not follow: noise that can be
read may still leave the pictures to be learnt.

Images of one size only. Prints the best and the final accuracy of each attacker, in %.
"""

import csv
import random
import sys
from dataclasses import replace
from pathlib import Path

import semshard
from semshard.verification.grid import grid
from semshard.verification.inputs import open_inputs
from semshard.verification.parallel import suited_workers, train_in_parallel
from semshard.verification.request import VerifyRequest

VICTIMS = ({"countermeasure": "none,grey,jpeg-10", "rho_a": "0"}, {"countermeasure": "none", "rho_a": "4/255"})


def main(images: str, out: str, seed: str = "0") -> None:
    for name, (best, final) in noise_alone(images, Path(out), int(seed), {}, VICTIMS).items():
        print(f"{name}: {best} at best, {final} in the end")


def noise_alone(images: str | Path, out: Path, seed: int, settings: dict, victims: tuple[dict, ...]) -> dict:
    """The best and the final accuracy, in %, of every attacker that reads the noise alone; `settings` are those of
    `protect`, each of `victims` those of a grid of attackers.
    """
    table = permuted_labels(Path(images), out, seed)
    options = semshard.SourceOptions(labels=str(table))
    semshard.protect(images, out / "shards", preset="quick", seed=seed, options=options, **settings)
    reached = {}
    for victim in victims:
        request = VerifyRequest(out / "shards", preset="quick", report=out / "report", settings={"seed": seed} | victim)
        inputs = open_inputs(request)
        if inputs.dataset.photos:
            raise SystemExit("noise_alone.py: the images have several sizes")
        dataset = replace(
            inputs.dataset, clean=inputs.dataset.protected, place=None
        )  # so that tests are on published images, too
        tasks = list(grid(inputs.trainer.config, kinds=("protected",)))
        workers = semshard.WorkerOptions(workers=suited_workers(dataset, inputs.trainer, tasks))
        for task, outcome in train_in_parallel(dataset, inputs.trainer, tasks, workers).items():
            reached[task.attacker.name] = [round(100 * outcome.best, 1), round(100 * outcome.final, 1)]
    return reached


def permuted_labels(images: Path, out: Path, seed: int) -> Path:
    """A table in `out` that gives every file the class of another one at random: each class keeps its size."""
    files = sorted(path.relative_to(images) for path in images.glob("*/**/*") if path.is_file())
    classes = [path.parts[0] for path in files]
    random.Random(seed).shuffle(classes)  # noqa: S311  # an experiment that can be repeated
    out.mkdir(parents=True, exist_ok=True)
    table = out / "permuted.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *zip(map(Path.as_posix, files), classes, strict=True)])
    return table


if __name__ == "__main__":
    main(*sys.argv[1:])
