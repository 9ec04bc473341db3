"""What Ray costs: protect and audit by local workers and by those of Ray, in turn on the same cores.

python examples/throughput.py SOURCE DIR ROUNDS    # writes examples/results/throughput.json; works below DIR

CPU seconds are those of all processes of a command, Ray's own among them: other programs of the machine make a run take
longer, but cost it no more of these. They are counted while the shards between a quarter and nine tenths are done, when
all workers have loaded what they need and have work. What lies before and after does not grow with the images.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import semshard

IMAGES, SHARD = 3_000, 100  # of protect
AUDITED, AUDIT_SHARD = 10_000, 250
TICK = os.sysconf("SC_CLK_TCK")
MARK = "SEMSHARD_THROUGHPUT"  # in the environment of all processes of a command
PROGRAM = [sys.executable, "-m", "semshard_cli"]
SETTINGS = ["--preset", "quick", "--shard-size", str(SHARD)]
CHEAP = {"preset": "quick", "method": "sc", "shard_size": AUDIT_SHARD}


def cpu_seconds(mark: str, known: set[str]) -> float:
    """User and system seconds of every process with this mark in its environment, and of their ended children; one that
    has ended and was not waited for yet has no environment, but is `known`.
    """
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}\0".encode() in (process / "environ").read_bytes():
                known.add(process.name)
            if process.name in known:
                total += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:  # it has gone, or is not ours
            continue
    return total / TICK


class Measured:
    """A command while it runs: wall and CPU seconds whenever another shard is done."""

    def __init__(self, cores: int, *command: str) -> None:
        self.mark = hashlib.sha256(f"{command} {time.time()}".encode()).hexdigest()[:16]
        self.points = dict[int, tuple[float, float]]()  # by the number of shards that are done
        self.start, self._known = time.perf_counter(), set[str]()
        self._process = subprocess.Popen(
            command, env=os.environ | {MARK: self.mark, "OMP_NUM_THREADS": str(cores)}, stdout=subprocess.DEVNULL
        )

    def follow(self, done: Callable[[], int]) -> None:
        """Look until it ends, without a pause that would be noticed."""
        known = 0
        while self._process.poll() is None:
            if (now := done()) > known:
                known = now
                self.points[now] = time.perf_counter() - self.start, cpu_seconds(self.mark, self._known)
            time.sleep(0.01)
        assert self._process.returncode == 0
        self.seconds = time.perf_counter() - self.start

    def rates(self, each: int) -> list[float]:
        """Wall and CPU milliseconds of an image, of `each` in a shard."""
        first, last = (
            min(count for count in self.points if count >= share * max(self.points)) for share in (0.25, 0.9)
        )
        return [
            1e3 * (end - begin) / (each * (last - first))
            for begin, end in zip(self.points[first], self.points[last], strict=True)
        ]


def protect(source: Path, surrogate: Path, out: Path, engine: str, workers: int) -> dict[str, float]:
    command = [*PROGRAM, "protect", str(source), "--out", str(out), "--surrogate", str(surrogate), *SETTINGS]
    run = Measured(workers, *command, "--engine", engine, "--workers", str(workers))
    run.follow(lambda: len(list(out.glob("*_stats.json"))))
    wall, cpu = run.rates(SHARD)
    shutil.rmtree(out)
    shutil.rmtree(f"{out}.ledger")
    return {"wall": wall, "cpu": cpu, "start": run.seconds - wall * IMAGES / 1e3}


def audit(shards: Path, log: Path, engine: str, workers: int) -> dict[str, float]:
    log.unlink(missing_ok=True)
    run = Measured(workers, sys.executable, __file__, "audited", str(shards), str(log), engine, str(workers))
    run.follow(lambda: log.read_bytes().count(b"\n") if log.exists() else 0)
    wall, cpu = run.rates(AUDIT_SHARD)
    return {"wall": wall, "cpu": cpu, "start": run.seconds - wall * AUDITED / 1e3}


def audited(shards: str, log: str, name: str, workers: str) -> None:
    """The process that is measured: an audit that writes a line for each shard."""
    with open(log, "a", buffering=1) as file:

        def note(event: semshard.Event) -> None:
            if event.unit == "shards":
                file.write(f"{event.done}\n")

        assert semshard.audit(shards, workers=semshard.WorkerOptions(name, int(workers)), progress=note).ok


def plain(shards: Path) -> dict[str, float]:
    """SHA-256 of each tar, its entries, every PNG decoded: milliseconds of an image, in this process."""
    start, cpu = time.perf_counter(), time.process_time()
    for path in sorted(shards.glob("*.tar")):
        hashlib.sha256(path.read_bytes()).hexdigest()
        with tarfile.open(path) as tar:
            for entry in tar:
                data = tar.extractfile(entry).read()
                if entry.name.endswith(".png"):
                    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return {"wall": 1e3 * (time.perf_counter() - start) / AUDITED, "cpu": 1e3 * (time.process_time() - cpu) / AUDITED}


def chosen(source: Path, count: int, out: Path) -> Path:
    """A folder with the first images of each class, `count` in all, as links."""
    names = sorted(path.name for path in source.iterdir() if path.is_dir())
    for name in names:
        (out / name).mkdir(parents=True, exist_ok=True)
        for path in sorted((source / name).iterdir())[: count // len(names)]:
            os.link(path, out / name / path.name) if not (out / name / path.name).exists() else None
    return out


def rounds(source: Path, folder: Path, count: int) -> dict[str, list[dict[str, float]]]:
    """Every command, in turn, so many times; every second time in reverse."""
    images, shards = chosen(source, IMAGES, folder / "images"), folder / "audited"
    surrogate = folder / "surrogate.safetensors"
    if not surrogate.exists():
        train = [*PROGRAM, "train", str(images), "--out", str(surrogate), "--preset", "quick", "--steps", "5"]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    if not (shards / "manifest.json").exists():
        semshard.protect(chosen(source, AUDITED, folder / "more"), shards, **CHEAP)
    shutil.rmtree(f"{shards}.ledger", ignore_errors=True)  # the audit compares with no originals, as the loop does not
    kinds = [(engine, workers) for workers in (1, 2) for engine in ("local", "ray")]
    found: dict[str, list[dict[str, float]]] = {}
    for number in range(count):
        for engine, workers in kinds if number % 2 == 0 else kinds[::-1]:
            made = protect(images, surrogate, folder / "out", engine, workers)
            found.setdefault(f"protect {engine} {workers}", []).append(made)
            checked = audit(shards, folder / "log", engine, workers)
            found.setdefault(f"audit {engine} {workers}", []).append(checked)
            found.setdefault("plain", []).append(plain(shards))
            print(engine, workers, made, checked, found["plain"][-1], file=sys.stderr, flush=True)
            (folder / "rounds.json").write_text(json.dumps(found))
    return found


def tables(found: dict[str, list[dict[str, float]]]) -> dict[str, dict]:
    def median(name: str, what: str) -> float:
        return statistics.median(each[what] for each in found[name])

    def rows(command: str) -> list[list]:
        lines = []
        for workers in (1, 2):
            local, ray = (f"{command} {engine} {workers}" for engine in ("local", "ray"))
            for name, engine in ((local, "local"), (ray, "Ray")):
                figures = [round(median(name, what), 3) for what in ("cpu", "wall")]
                costs = [
                    round(100 * (statistics.median(b[what] / a[what] for a, b in pairs) - 1), 1)
                    for what in ("cpu", "wall")
                    for pairs in [list(zip(found[local], found[name], strict=True))]
                ]
                beside = [round(median("plain", "cpu") / figures[0], 2)] if command == "audit" else []
                lines.append([engine, workers, *figures, *costs, *beside, round(median(name, "start"), 1)])
        if command == "audit":
            lines.append(
                ["plain loop", "", *(round(median("plain", what), 3) for what in ("cpu", "wall")), "", "", 1, ""]
            )
        return lines

    heads = ["engine", "workers", "CPU, ms per image", "wall, ms per image", "CPU ÷ local", "wall ÷ local"]
    forms = {"workers": "{}", "CPU ÷ local": "{:+.1f} %", "wall ÷ local": "{:+.1f} %", "start and end, s": "{:.1f}"}
    forms |= {"CPU, ms per image": "{:.3g}", "wall, ms per image": "{:.3g}", "plain CPU ÷ CPU": "{:.2f}"}

    def columns(*titles: str) -> list[dict]:
        return [{"title": title} | ({"form": forms[title]} if title in forms else {}) for title in titles]

    return {
        "protect": {"columns": columns(*heads, "start and end, s"), "rows": rows("protect")},
        "audit": {"columns": columns(*heads, "plain CPU ÷ CPU", "start and end, s"), "rows": rows("audit")},
    }


def main(action: str, *rest: str) -> None:
    if action == "audited":
        audited(*rest)
        return
    folder, count = Path(rest[0]), int(rest[1])
    figures = tables(rounds(Path(action), folder, count))
    from scaling import write

    about = f"Medians of {count} rounds in turn; {IMAGES:,} images of CIFAR-10 protected, {AUDITED:,} audited"
    write("throughput", about, "python examples/throughput.py cifar10/test DIR ROUNDS", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
