"""What the ledger's index costs: time and memory of writing it, of the plan, of one shard's part, and of the finish.

python examples/index_rows.py 1000000 FOLDER      # FOLDER is created, and may be deleted afterwards

Inputs are rows with made-up names, sizes and SHA-256 values, of a source that is not there; 1 % of them are rejected.
Each step is a process of its own. Seconds are of the clock, and in brackets of one core. Memory is the most that was
resident, and in brackets what that is above a process that has only imported semshard.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from semshard.engine import permutation
from semshard.memory import peak_memory
from semshard.protection.index_rows import tables_of
from semshard.protection.known_plan import KnownPlan, known_collection, known_part
from semshard.protection.publish import rejects
from semshard.settings import protect_config
from semshard.shards import Ledger, LedgerRow
from semshard.sources import Decoding, Entry, Source, unscanned
from semshard.sources.by_rows import about_source
from semshard.sources.source import Location
from semshard.sources.tree_reader import TreeReader

SHARD, CLASSES = 1_000, 1_000
STEPS = ("import", "write", "plan", "collection", "part", "row", "files", "finish")


class Named(Source):
    """So many files of a folder that is not listed."""

    classes = tuple(map(str, range(CLASSES)))

    def __init__(self, count: int, place: Path) -> None:
        self._count, self._place = count, place
        self.spec, self.digest = str(place), "0" * 64

    spec = digest = ""

    def __len__(self) -> int:
        return self._count

    def entry(self, number: int) -> Entry:
        return Entry(f"class_{number % CLASSES:04d}/image_{number:09d}.jpg", number % CLASSES)

    def read(self, number: int) -> bytes:
        return b""

    def reader(self) -> TreeReader:
        return TreeReader(str(self._place))

    def location(self, number: int) -> Location:
        return Location(self.entry(number).name)


def scanned(source: Source):
    """What a scan might have found."""
    random, count = np.random.default_rng(0), len(source)
    collection = unscanned(source, Decoding(), 0)
    collection.sha256[:] = random.integers(0, 256, (count, 32), np.uint8)
    collection.sizes[:] = random.integers(200, 800, (count, 2))
    collection.lengths[:] = random.integers(1 << 14, 1 << 18, count)
    collection.labels[:] = np.arange(count) % CLASSES
    for number in range(0, count, 100):
        collection.rejects[number] = "is not an image"
    return collection


def plan_of(collection) -> list:
    """As a new run has it."""
    usable = collection.usable
    order = permutation(len(usable), 0, "shards").numpy()
    return [usable[order[at : at + SHARD]] for at in range(0, len(usable), SHARD)]


def step(name: str, count: int, folder: Path) -> dict:
    """The seconds of a step, and what is known of it."""
    ledger, source = Ledger(folder), Named(count, folder)
    config = protect_config("quick", None, "float32", {})
    run = {"classes": source.classes, "duplicates": 0, "size": None, "source": source.spec, "source_options": {}}
    found = scanned(source) if name == "write" else None
    start, core, about = time.perf_counter(), time.process_time(), {}
    if name == "write":
        plan = plan_of(found)
        about["core of the plan"] = round(time.process_time() - core, 2)
        ledger.index.write(tables_of(found, plan), {"shards": len(plan)}, about_source(source))
        about["bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    elif name == "plan":
        about["shards"] = len(list(KnownPlan.of(ledger).shards))
    elif name == "collection":
        known_collection(source, ledger, config, run)
    elif name in ("part", "row"):
        known, times = KnownPlan.of(ledger), []
        for shard in range(0, len(known.shards), max(1, len(known.shards) // 9)):
            begin = time.perf_counter(), time.process_time()
            numbers = known.shards[shard]
            known_part(ledger, config, run, numbers if name == "part" else numbers[:1])
            times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
        seconds, core = np.median(times, 0).round(4).tolist()
        return {"seconds": seconds, "core": core, "of": len(times)}
    elif name == "files":  # the ledger's files of the shards, which the finish reads
        names = ledger.names()
        for shard, numbers in enumerate(KnownPlan.of(ledger).shards):
            keys = ((n, f"{shard:05d}{place:05d}") for place, n in enumerate(numbers.tolist()))
            ledger.write_shard(shard, (LedgerRow(n, names[n], "0" * 64, key, None, 40.0) for n, key in keys))
    elif name == "finish":
        ledger.write_rejects(rejects(ledger, len(KnownPlan.of(ledger).shards)))
        about["rejects"] = len((folder / "rejects.jsonl").read_bytes().splitlines())
    return {"seconds": round(time.perf_counter() - start, 2), "core": round(time.process_time() - core, 2), **about}


def main(count: int, folder: Path) -> None:
    folder.mkdir(parents=True)
    base = 0
    for name in STEPS:
        call = [sys.executable, __file__, str(count), str(folder), name]
        result = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
        base = base or result["peak"]
        peak, seconds, core = (result.pop(key) for key in ("peak", "seconds", "core"))
        print(
            f"{name:12}{seconds:10.4f} s ({core}) {peak >> 20:7} MiB ({peak - base >> 20}) {result or ''}", flush=True
        )


if __name__ == "__main__":
    number, place = int(sys.argv[1]), Path(sys.argv[2]).absolute()
    if len(sys.argv) == 4:
        print(json.dumps(step(sys.argv[3], number, place) | {"peak": peak_memory()}))
    else:
        main(number, place)
