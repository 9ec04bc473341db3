"""What a GPU owes this project: its tests, the bench, and Table 2 of the paper, unattended, beside the paper's numbers.

python examples/gpu.py OUT [--cifar10 DIR] [--photographs DIR] [--scale paper|quick|mini] [--device cuda] [--minutes N]

Steps in the order of their worth: the tests that need a GPU; `semshard bench`; of Table 2 SEM, clean and control at
4/255 and at 0, then `hardened`, then REM, EM and SC at 4/255, then SEM at other radii, then `hardened` photographs
where there are some. Each step is a command of its own. What is finished is kept in OUT, so the same call continues
where it stopped, and a step that fails does not stop the others. OUT/report.json and OUT/report.md are written after
every step.

Scale mini shrinks every step to seconds per victim, on drawn shapes, so that all of this can be tried on a CPU. It says
nothing about protection. Times at scale paper: docs/reproducing.md. Not yet run on a GPU.
"""

import argparse
import datetime
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEMSHARD = (sys.executable, "-m", "semshard_cli")
STOPPED = 75  # the exit code of a command whose time was up
WORTH = (
    "SEM:4/255", "Clean Data:4/255", "SEM of 4/255:0", "Clean Data:0", "Control:4/255",
)  # fmt: skip
OTHER_METHODS = ("REM:4/255", "EM:4/255", "SC:4/255")
OTHER_RADII = ("SEM:1/255", "SEM:2/255", "SEM:3/255")
BEYOND = "6/255,8/255"  # radii that the paper's table does not have

# Settings of victims, protections and the bench where everything is tried in miniature.
MINI_VICTIM = ("--steps", "12", "--evaluations", "1", "--steps-a", "2")
MINI_PROTECT = {"steps": "6", "lr_every": "3", "steps_u": "2", "final_steps": "2", "steps_a": "2", "final_draws": "1"}
MINI_BENCH = ("--repeats", "1", "--methods", "none", "--pictures", "0", "--steps-u", "2", "--draws", "2")


@dataclass(frozen=True)
class Step:
    """A command that is run until it succeeds; its JSON on standard output becomes OUT/NAME.json."""

    name: str
    command: tuple[str, ...]
    is_json: bool = True


@dataclass(frozen=True)
class Plan:
    """Where, on which images, and at which scale."""

    out: Path
    cifar10: str | None
    photographs: str | None
    scale: str
    device: str
    minutes: float | None

    @property
    def mini(self) -> bool:
        return self.scale == "mini"

    @property
    def preset(self) -> tuple[str, ...]:
        return "--preset", "quick" if self.mini else self.scale, "--device", self.device

    @property
    def source(self) -> str:
        return f"cifar10:{self.cifar10},split=train" if self.cifar10 else "shapes:120"

    @property
    def victim(self) -> tuple[str, ...]:
        return MINI_VICTIM if self.mini else ()

    def steps(self) -> list[Step]:
        """Every step, in order."""
        table = self._table
        return [
            Step(
                "tests", (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"), False
            ),
            Step("bench", (*SEMSHARD, "bench", *self.preset, *(MINI_BENCH if self.mini else ()), "--json")),
            Step("sem", table(WORTH)),
            *self._hardened("hardened", self.source),
            Step("methods", table((*WORTH, *OTHER_METHODS))),
            Step("radii", table((*WORTH, *OTHER_METHODS, *OTHER_RADII))),
            Step("beyond", self._verify("beyond", self._sem_shards, BEYOND, "none")),
            *(self._hardened("photographs", self.photographs) if self.photographs else ()),
        ]

    def _table(self, cells: tuple[str, ...]) -> tuple[str, ...]:
        test = ("--test", f"cifar10:{self.cifar10},split=test") if self.cifar10 else ()
        protection = [f"{name}={value}" for name, value in MINI_PROTECT.items()] if self.mini else []
        return (
            *SEMSHARD, "reproduce", "table2", "--source", self.source, *test, "--device", self.device,
            "--scale", "quick" if self.mini else self.scale,
            "--out", str(self.out / "table2"), "--state", str(self.out / "state"),
            *(part for cell in cells for part in ("--cells", cell)),
            *(part for setting in protection for part in ("--protection", setting)),
            *(("--minutes", str(self.minutes)) if self.minutes else ()), *self.victim, "--json",
        )  # fmt: skip

    def _hardened(self, name: str, source: str) -> tuple[Step, Step]:
        """Hardened noise for the images of a source, and what attackers learn from them."""
        shards = self.out / name / "shards"
        verified = Step(f"{name}-verified", self._verify(name, shards, "0,4/255", "none,grey,jpeg-10"))
        return Step(name, self._protect(source, shards)), verified

    def _protect(self, source: str, shards: Path) -> tuple[str, ...]:
        settings = (part for name, value in MINI_PROTECT.items() for part in (f"--{name.replace('_', '-')}", value))
        return (
            *SEMSHARD, "protect", source, "--out", str(shards), *self.preset,
            "--views", "hardened", *(settings if self.mini else ()), "--json",
        )  # fmt: skip

    def _verify(self, name: str, shards: Path | str, radii: str, countermeasures: str) -> tuple[str, ...]:
        return (
            *SEMSHARD, "verify", str(shards), *self.preset, "--rho-a", radii, "--countermeasure", countermeasures,
            *self.victim, "--report", str(self.out / f"report-{name}"), "--json",
        )  # fmt: skip

    @property
    def _sem_shards(self) -> str:
        """The shards of SEM against 4/255 that the table made; a pattern while there are none."""
        folders = sorted(self.out.glob("table2/protected/sem-*"))
        against = [each for each in folders if _settings(each).get("rho_a") in ("4/255", 4 / 255)]
        return str((against or folders or [self.out / "table2/protected/sem-*"])[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cifar10", help="folder with CIFAR-10 as downloaded; needed but for scale mini")
    parser.add_argument("--photographs", help="folder with a folder of photographs per class, 1,200 in all or so")
    parser.add_argument("--scale", choices=("paper", "quick", "mini"), default="paper")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, help="stop about then with exit code 75; the same call continues")
    given = parser.parse_args()
    if not given.cifar10 and given.scale != "mini":
        parser.error("--cifar10 DIR is needed: the folder with CIFAR-10's python batches, or its tar.gz")
    cifar10, photographs = (each and str(Path(each).absolute()) for each in (given.cifar10, given.photographs))
    plan = Plan(given.out.absolute(), cifar10, photographs, given.scale, given.device, given.minutes)
    plan.out.mkdir(parents=True, exist_ok=True)
    plan.out.chmod(0o700)
    failed = 0
    for number in range(len(plan.steps())):
        step = plan.steps()[number]  # made anew: later ones read what earlier ones made
        code = run(step, plan)
        write_report(plan)
        if code == STOPPED:
            print("the time is up; the same command continues from here")
            return STOPPED
        failed += code != 0
    print(f"{plan.out}/report.md" + (f"; {failed} steps failed, their logs are beside it" if failed else ""))
    return 1 if failed else 0


def run(step: Step, plan: Plan) -> int:
    """Run a step unless it has succeeded with the same command before; its exit code."""
    record, log = plan.out / f"{step.name}.run.json", plan.out / f"{step.name}.log"
    before = json.loads(record.read_text()) if record.exists() else {}
    if before.get("exit") == 0 and before.get("command") == list(step.command):
        return 0
    print(f"{step.name}: {' '.join(step.command)}", flush=True)
    start, began = time.monotonic(), datetime.datetime.now(datetime.UTC)
    with log.open("a") as errors:
        done = subprocess.run(step.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    (plan.out / f"{step.name}.{'json' if step.is_json else 'txt'}").write_text(done.stdout)
    seconds = round(before.get("seconds", 0) + time.monotonic() - start, 1)
    record.write_text(
        json.dumps(
            {
                "command": list(step.command), "exit": done.returncode, "seconds": seconds,
                "date": began.date().isoformat(),
            },
            indent=1,
        )
    )  # fmt: skip
    print(f"{step.name}: exit {done.returncode} after {seconds:,.0f} s", flush=True)
    return done.returncode


def write_report(plan: Plan) -> None:
    """Everything that is known so far, as JSON and as Markdown."""
    found = {step.name: _json(plan.out / f"{step.name}.json") for step in plan.steps() if step.is_json}
    runs = {step.name: _json(plan.out / f"{step.name}.run.json") for step in plan.steps()}
    table = _json(plan.out / "table2" / "table2.json") or {}
    tests = plan.out / "tests.txt"
    report = {
        "schema_version": 1,
        "scale": plan.scale,
        "device": plan.device,
        "source": "CIFAR-10" if plan.cifar10 else plan.source,
        "hardware": (found["bench"] or {}).get("hardware", {}),
        "matrix_product": (found["bench"] or {}).get("matrix_product"),
        "seeds": table.get("seeds"),
        "steps": {name: each for name, each in runs.items() if each},
        "tests": tests.read_text().strip().splitlines()[-1:] if tests.exists() else [],
        "cells": table.get("cells", []),
        "parts": table.get("parts", []),
        "machines": table.get("machines", {}),
        "digests": table.get("digests", {}),
        "bench": found["bench"],
        "hardened": found["hardened-verified"],
        "beyond": found["beyond"],
        "photographs": found.get("photographs-verified"),
    }
    (plan.out / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    (plan.out / "report.md").write_text("\n".join(markdown(report)) + "\n")


def markdown(report: dict) -> list[str]:
    """The report for people: cells beside the paper's, the parts of the work, the steps."""
    hardware = ", ".join(f"{name} {value}" for name, value in report["hardware"].items())
    lines = [f"# Table 2 at scale {report['scale']}", "", hardware or "hardware: the bench has not finished", ""]
    if report["scale"] == "mini":
        lines += ["**A trial of the commands: the accuracies mean nothing.**", ""]
    lines += ["| noise | trained at | ours, % | best, % | paper, % |", "|---|---|---|---|---|"]
    for cell in report["cells"]:
        figures = (cell["ours"], cell["best"], cell["paper"])
        shown = ("–" if figure is None else f"{figure:.2f}" for figure in figures)
        lines.append(f"| {cell['row']} | {cell['column']} | {' | '.join(shown)} |")
    lines += ["", "The paper reports 6 h for SEM and 22 h for REM, surrogate and images together.", ""]
    lines += ["| part | seconds | TFLOP/s | of the matrix product |", "|---|---|---|---|"]
    for part in report["parts"]:
        rate = f"{part['flop_per_second'] / 1e12:.3g} | {part['share']:.0%}" if part["flop"] else "– | –"
        lines.append(f"| {part['part']} | {part['seconds']:,.1f} | {rate} |")
    titles = {"hardened": "hardened", "beyond": "SEM of 4/255 beyond its radius", "photographs": "hardened photographs"}
    for name, title in titles.items():
        if report[name]:
            lines += ["", f"{title}: {report[name]['verdict']['sentence']}"]
    lines += ["", "| step | exit code | seconds | date |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {of['exit']} | {of['seconds']:,.0f} | {of['date']} |" for name, of in report["steps"].items()
    ]
    return [*lines, "", *(f"tests: {line}" for line in report["tests"])]


def _settings(shards: Path) -> dict:
    manifest = _json(shards / "manifest.json") or {}
    return manifest.get("settings", manifest.get("config", {}))


def _json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(main())
