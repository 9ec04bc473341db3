"""The long set: processes of a run are killed at random moments, and each time it ends in the bytes of a quiet run.

python -m tests.kills 500 [--minutes M] [--seed 24] [--out examples/results/kills.json] [KIND=COUNT …]

The number is shared out among the kinds below, or KIND=COUNT says it for some of them alone; after so many minutes no
further process is killed, and what was killed is completed and counted. A kill counts where the
process was alive when SIGKILL was sent. After each, the same command continues what is left, until the run is
complete; then all files, public and private, are compared with those of a run that nobody disturbed, and the next run
begins. Prints a line for each kind, and exits with 1 where anything differed.

part         one of three processes with --part, two of them the same part; all three are killed at once
driver       protect in one process, from the scan to the manifest
worker       a local process that makes shards for a driver, which ends with an error then
actor        an actor on a cluster of Ray; the driver goes on with another one
node         a node of that cluster; the driver goes on with the others
ray-driver   the driver of that cluster
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import torch

import semshard
from semshard.sources.shapes import write_shapes
from tests.support.forks import forks
from tests.support.parts import everything, words_of
from tests.support.runs import TINY
from tests.support.workers import start as start_with_workers
from tests.support.workers import workers_of

SETTINGS = TINY | {"steps": 4, "batch": 8, "shard_size": 2, "craft_batch": 2, "final_steps": 12}
IMAGES = 40
SHARDS = IMAGES // SETTINGS["shard_size"]
SHARES = {"part": 0.6, "driver": 0.28, "worker": 0.04, "actor": 0.05, "node": 0.02, "ray-driver": 0.01}
RAY = ("actor", "node", "ray-driver")


@dataclass
class Tally:
    """What became of the kills of one kind."""

    kills: int = 0
    runs: int = 0  # that were completed and compared
    differences: list[str] = field(default_factory=list)
    moments: Counter = field(default_factory=Counter)  # how many shards were done when the process was killed
    seconds: float = 0.0
    wanted: int = 0
    until: float = math.inf  # of the monotonic clock

    @property
    def is_enough(self) -> bool:
        return self.kills >= self.wanted or time.monotonic() > self.until


class Rough:
    """A run that is killed again and again, beside the bytes of a quiet one."""

    def __init__(self, home: Path, quiet: dict[str, bytes], tally: Tally, chance: random.Random) -> None:
        self.home, self._quiet, self.tally, self.chance = home, quiet, tally, chance
        self.reset()

    def reset(self) -> None:
        for name in ("shards", "shards.ledger"):
            shutil.rmtree(self.home / name, ignore_errors=True)

    def done(self) -> int:
        return len(list((self.home / "shards").glob("*_stats.json")))

    def kill(self, process: int) -> bool:
        """Send SIGKILL, and count it where the process is alive."""
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.count()
        return True

    def count(self, number: int = 1) -> None:
        self.tally.kills += number
        self.tally.moments[self.done()] += number

    def await_moment(self, has_ended: Callable[[], bool], most: int = 4) -> None:
        """Wait for a random moment: some seconds from now, or shortly after some more shards are done."""
        more = self.chance.randint(0, most)
        wanted = self.done() + more
        wait_until(lambda: has_ended() or self.done() >= wanted)
        time.sleep(self.chance.uniform(0, 0.2 if more else 3.0))

    def compare(self, what: str = "") -> None:
        """The run is complete: it has to have the bytes of the quiet one, and nothing else may be left."""
        self.tally.runs += 1
        found, half = everything(self.home), list(self.home.glob("shards*/.*"))
        names = [name for name in self._quiet.keys() | found.keys() if self._quiet.get(name) != found.get(name)]
        if names or half:
            self.tally.differences.append(f"run {self.tally.runs}{what}: {sorted(names)}, left behind: {half}")
        self.reset()


# --- the kinds ------------------------------------------------------------------------------------------------------


def parts(rough: Rough) -> None:
    here = lambda **options: semshard.protect(rough.home / "images", rough.home / "shards", **SETTINGS, **options)  # noqa: E731
    here(until="surrogate")
    while not rough.tally.is_enough:
        which = ["1/2", "2/2", rough.chance.choice(["1/2", "2/2"])]
        crowd = [forks().start(*words_of(rough.home, f"--part={each}", settings=SETTINGS)) for each in which]
        rough.await_moment(lambda crowd=crowd: all(each.poll() is not None for each in crowd))
        for each in crowd:
            each.kill()
        rough.count([each.wait() for each in crowd].count(-signal.SIGKILL))
        if rough.done() == SHARDS:
            here(finish=True)
            rough.compare()
            here(until="surrogate")
    here(part="1/1")
    here(finish=True)
    rough.compare()


def drivers(rough: Rough, begin: Callable | None = None) -> None:
    """`begin` starts another driver than the plain one."""
    begin = begin or (lambda: forks().start(*words_of(rough.home, "--checkpoint-seconds=0", settings=SETTINGS)))
    while not rough.tally.is_enough:
        run = begin()
        rough.await_moment(lambda run=run: run.poll() is not None, most=8)
        run.kill()
        if run.wait() == -signal.SIGKILL:
            rough.count()
        elif run.returncode == 0:
            rough.compare()
        else:
            raise RuntimeError(run.communicate()[1])
    complete(begin())
    rough.compare()


def workers(rough: Rough) -> None:
    begin = lambda: start_with_workers(rough.home / "images", rough.home / "shards", 2, SETTINGS)  # noqa: E731
    while not rough.tally.is_enough:
        run = begin()
        wait_until(lambda run=run: run.poll() is not None or workers_of(run.pid))
        rough.await_moment(lambda run=run: run.poll() is not None)
        alive = workers_of(run.pid) if run.poll() is None else []
        killed = bool(alive) and rough.kill(rough.chance.choice(alive))
        code = run.wait()
        if code == 0:
            rough.compare(", a worker killed at its end" if killed else "")
        elif not killed or "was ended by SIGKILL" not in run.communicate()[1]:
            raise RuntimeError(run.communicate()[1])
    complete(begin())
    rough.compare()


def on_ray(rough: Rough, cluster, one: Callable) -> None:
    """A run after the other; while each is made, `one` kills something as often as it can."""
    while not rough.tally.is_enough:
        run = ray_run(rough, cluster)
        while run.poll() is None and not rough.tally.is_enough:
            rough.await_moment(lambda run=run: run.poll() is not None, most=2)
            if run.poll() is None:
                one(run)
        complete(run)
        rough.compare()


def ray_run(rough: Rough, cluster):
    words = ["--engine=ray", f"--ray-address={cluster.address}", "--workers=2", "--retries=50"]
    return forks().start(*words_of(rough.home, *words, settings=SETTINGS))


def kill_actor(rough: Rough, cluster) -> Callable:
    from tests.support.ray_cluster import actors_of

    def one(run) -> None:
        actors = [number for node in cluster.worker_nodes for number in actors_of(node)]
        if actors:
            rough.kill(rough.chance.choice(actors))

    return one


def kill_a_node(rough: Rough, cluster) -> Callable:
    from tests.support.ray_cluster import actors_of, add_node, kill_node

    def one(run) -> None:
        busy = [node for node in cluster.worker_nodes if actors_of(node)]
        if busy:
            rough.count()
            kill_node(cluster, rough.chance.choice(busy))
            add_node(cluster)

    return one


def complete(run) -> None:
    output, errors = run.communicate(timeout=900)
    if run.returncode:
        raise RuntimeError(output + errors)


def wait_until(is_so: Callable[[], object]) -> None:
    while not is_so():
        time.sleep(0.005)


# --- all of them ----------------------------------------------------------------------------------------------------


def quiet_run(home: Path) -> dict[str, bytes]:
    """All files of a run that nobody disturbs, in one process."""
    write_shapes(home / "images", IMAGES)
    semshard.protect(home / "images", home / "shards", **SETTINGS)
    return everything(home)


def kill_all(
    counts: dict[str, int], seed: int, minutes: float = math.inf, say: Callable[[str], None] = print
) -> dict[str, Tally]:
    """Kill so many processes of each kind; what became of it. Each kind has the same part of the minutes that are left
    when it begins.
    """
    tallies: dict[str, Tally] = {}
    end = time.monotonic() + 60 * minutes
    with contextlib.ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kills")))
        home = top / "home"
        home.mkdir()
        quiet, cluster = quiet_run(home), None
        if any(counts.get(kind) for kind in RAY):
            from tests.support.ray_cluster import ray_cluster

            cluster = stack.enter_context(ray_cluster(3))
        for kind, count in counts.items():
            begun, left = time.monotonic(), len(counts) - len(tallies)
            tally = tallies[kind] = Tally(wanted=count, until=begun + (end - begun) / left)
            rough = Rough(home, quiet, tally, random.Random(f"{seed} {kind}"))
            if count:
                act(kind, rough, cluster)
            tally.seconds = time.monotonic() - begun
            say(line_of(kind, tally))
    return tallies


def act(kind: str, rough: Rough, cluster) -> None:
    match kind:
        case "part":
            parts(rough)
        case "driver":
            drivers(rough)
        case "worker":
            workers(rough)
        case "actor":
            on_ray(rough, cluster, kill_actor(rough, cluster))
        case "node":
            on_ray(rough, cluster, kill_a_node(rough, cluster))
        case "ray-driver":
            drivers(rough, lambda: ray_run(rough, cluster))


def line_of(kind: str, tally: Tally) -> str:
    wrong = f"; DIFFERENT: {'; '.join(tally.differences)}" if tally.differences else ""
    return (
        f"{kind:10} {tally.kills:4} killed, {len(tally.moments):2} different numbers of shards done, "
        f"{tally.runs:3} runs completed, all bytes the same: {'no' if wrong else 'yes'}, {tally.seconds:.0f} s{wrong}"
    )


def result(tallies: dict[str, Tally], seed: int, line: str) -> dict:
    rows = [
        [kind, tally.kills, len(tally.moments), tally.runs, len(tally.differences)] for kind, tally in tallies.items()
    ]
    rows.append(["all", *(sum(row[at] for row in rows) for at in range(1, 5))])
    titles = (
        "killed",
        "times",
        "with different numbers of shards done",
        "runs completed and compared",
        "that differed",
    )
    version = ".".join(torch.__version__.split(".")[:2])
    return {
        "about": "Kills at random moments, and the bytes at the end",
        "command": line,
        "commit": None,
        "hardware": "two virtual cores of an x86-64 CPU that others used at the same time",
        "software": f"torch {version}, Python {'.'.join(platform.python_version_tuple()[:2])}",
        "seeds": [seed],
        "date": date.today().isoformat(),
        "figures": {"kills": {"columns": [{"title": title} for title in titles], "rows": rows}},
    }


def shared_out(total: int) -> dict[str, int]:
    """How many of so many kills each kind gets."""
    counts = {kind: max(1, round(share * total)) for kind, share in SHARES.items()}
    return counts | {"part": max(1, total - sum(counts.values()) + counts["part"])}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__.split("\n\n")[0])
    parser.add_argument("kills", type=int)
    parser.add_argument("kinds", nargs="*", metavar="KIND=COUNT")
    parser.add_argument("--seed", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--out", type=Path)
    given = parser.parse_intermixed_args(words)
    chosen = {kind: int(count) for kind, _, count in (each.partition("=") for each in given.kinds)}
    if unknown := chosen.keys() - SHARES.keys():
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(SHARES)}")
    tallies = kill_all(
        chosen or shared_out(given.kills), given.seed, given.minutes, lambda text: print(text, flush=True)
    )
    print(f"{sum(tally.kills for tally in tallies.values())} kills in all")
    if given.out:
        found = result(tallies, given.seed, " ".join(["python -m tests.kills", str(given.kills), *given.kinds]))
        given.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return int(any(tally.differences for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
