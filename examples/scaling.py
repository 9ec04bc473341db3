"""What a run on many GPUs would take, and how well the forecast fits: the tables of docs/scaling.md.

python examples/scaling.py                      # simulate the tables anew, from the figures measured before
python examples/scaling.py measure SOURCE       # measure these figures on this machine, then simulate
python examples/scaling.py compare SOURCE DIR   # forecast runs on this machine, and run them below DIR

Nothing here has run on a GPU: their times are operations counted and a share of a rate, and all else is measured on the
cores of the machine that the file names.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import semshard
from semshard.measuring.simulation import Cluster, Workload, simulate_several
from semshard.progress import duration
from semshard.shards import ShardStats
from semshard.shards.writer import stats_bytes

RESULTS = Path(__file__).parent / "results"
IMAGES = (10**6, 10**7, 10**8, 10**9)
GPUS = (1, 10, 100, 1_000)
MEASURED = {  # of a workload: what it is, and its unit
    "listing": "listing, by one process: s per input",
    "scan": "scan, read and decoded: core-seconds per input",
    "surrogate": "surrogate, counted: s on one GPU",
    "repeated": "its share that every device repeats, counted",
    "read": "reading again for crafting: core-seconds per image",
    "craft": "crafting, counted: GPU-seconds per image",
    "encode": "encoding and writing: core-seconds per image",
    "finish": "finish, by one process: s per shard",
    "bytes_in": "bytes of an input",
    "bytes_out": "bytes written per image",
}
SETTINGS = {"preset": "paper", "network": "resnet18"}  # as photographs get it that keep their sizes
SHARD_SIZE = 1_000
MACHINES = {"cores": 8, "scan_cores": 8, "start": 60.0, "preemptions": 0.02, "bandwidth": 10e9, "cost_per_hour": 3.0}
PUT_RATE, GET_RATE = 3_500, 5_500  # requests per second and prefix that S3 takes at least
FILES = 4  # of a shard: tar, table, stats, ledger
PER_INPUT = 500 + 32 + 8 + 4 + 16  # bytes of the driver: index of names at most, SHA-256, size, label, digest of pixels


def cluster(gpus: int) -> Cluster:
    return Cluster(gpus, gpus=gpus, **MACHINES)


def workload(measured: dict[str, float], images: int) -> Workload:
    known = {"read": measured["scan"]} | measured  # very many images do not stay in memory
    return Workload(inputs=images, images=images, shard_size=SHARD_SIZE, **known)


def scaling(measured: dict[str, float], images: int, gpus: int, runs: int = 40) -> list:
    """A row of the table."""
    found = simulate_several(workload(measured, images), cluster(gpus), runs)
    total = found.seconds["total"]
    cost = found.worker_hours * MACHINES["cost_per_hour"] / images * 1e6
    spread = f"{days(total.low)} to {days(total.high)}"
    waiting = round(100 * found.waiting_hours / (found.worker_hours + found.waiting_hours))
    return [power(images), gpus, days(total.median), spread, round(cost, 2), waiting, found.bottleneck]


def breaks(measured: dict[str, float]) -> list[list]:
    """What one process, one file or one prefix is asked for, by the number of images."""
    entry = len(stats_bytes(ShardStats(12_345, 1_000, 0, 10**8, "0" * 64, 10**5, "0" * 64, 8, 30.1234)))

    cores = MACHINES["scan_cores"]

    def row(what: str, of: callable) -> list:
        return [what, *(of(images) for images in IMAGES)]

    return [
        row("listing by one process", lambda n: days(n * measured["listing"])),
        row(f"scan by {cores} cores of one machine", lambda n: days(n * measured["scan"] / cores)),
        row(f"reading each input twice, {GET_RATE:,} GET/s of one prefix", lambda n: days(2 * n / GET_RATE)),
        row("memory of the driver, at most", lambda n: size(n * PER_INPUT)),
        row(
            f"{FILES} files per shard, {PUT_RATE:,} PUT/s of one prefix",
            lambda n: days(FILES * n / SHARD_SIZE / PUT_RATE),
        ),
        row("the list of all shards", lambda n: size(n / SHARD_SIZE * entry)),
        row("finish by one process", lambda n: days(n / SHARD_SIZE * measured["finish"])),
        row("bytes written", lambda n: size(n * measured["bytes_out"])),
    ]


def days(seconds: float) -> str:
    return duration(seconds) if seconds < 100 * 3600 else f"{seconds / 86400:,.1f} days"


def size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def power(images: int) -> str:
    return "10" + str(len(str(images)) - 1).translate(str.maketrans("6789", "⁶⁷⁸⁹"))


def columns(*titles: str, **forms: str) -> list[dict]:
    return [{"title": title} | ({"form": forms[title]} if title in forms else {}) for title in titles]


# --- measured ---------------------------------------------------------------------------------------------------------


def measure(source: str) -> dict[str, float]:
    """The workload of this source on GPUs, as far as this machine can measure it."""
    found = semshard.forecast(source, Cluster(1, gpus=1), runs=1, shard_size=SHARD_SIZE, **SETTINGS)
    print(*found.assumed, sep="\n", file=sys.stderr)
    return {name: float(f"{found.measured[name]:.4g}") for name in MEASURED if name != "read"}


def compare(source: str, out: Path, threads: tuple[int, ...] = (1, 2), times: int = 3) -> list[list]:
    """Forecast and measured seconds of `protect` with so many cores, one after the other; rows of a table."""
    rows = []
    for number in range(times):
        for cores in threads:
            environment = os.environ | {"OMP_NUM_THREADS": str(cores)}
            foretold, _ = command(environment, "plan", source, "--workers", str(cores))
            with tempfile.TemporaryDirectory(dir=out) as folder:
                made, seconds = command(environment, "protect", source, "--out", f"{folder}/shards")
            expected = {phase: spread["median"] for phase, spread in foretold["seconds"].items()}
            phases = [
                [round(expected["surrogate"], 1), round(made["seconds"]["surrogate"], 1)],
                [round(expected["craft"], 1), round(made["seconds"]["craft"], 1)],
                [round(expected["total"], 1), round(seconds, 1)],
            ]
            rows.append([str(cores), number + 1, *phases, round(100 * (expected["total"] / seconds - 1))])
            print(rows[-1], file=sys.stderr, flush=True)
    return sorted(rows)


def command(environment: dict[str, str], *arguments: str) -> tuple[dict, float]:
    """What a command says, and its seconds from start to end."""
    start = time.perf_counter()
    line = [sys.executable, "-m", "semshard_cli", *arguments, "--preset", "quick", "--steps", "60", "--json"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), time.perf_counter() - start


# --- the files --------------------------------------------------------------------------------------------------------


def known() -> dict[str, float]:
    """The figures measured before."""
    rows = json.loads((RESULTS / "scaling.json").read_text())["figures"]["measured"]["rows"]
    names = {text: name for name, text in MEASURED.items()}
    return {names[what]: value for what, value in rows}


def tables(measured: dict[str, float]) -> dict[str, dict]:
    heads = "images", "GPUs", "time, median", "10 to 90 % of the runs", "cost per 10⁶", "waiting", "bottleneck"
    forms = {"GPUs": "{:,}", "cost per 10⁶": "{:,.2f}", "waiting": "{} %"}
    rows = [scaling(measured, images, gpus) for images in IMAGES for gpus in GPUS]
    shown = [[MEASURED[name], value] for name, value in measured.items()]
    return {
        "measured": {"columns": columns("photographs of 224 × 224, 256 of 1,200", "", **{"": "{:.4g}"}), "rows": shown},
        "scaling": {"columns": columns(*heads, **forms), "rows": rows},
        "breaks": {"columns": columns("", *map(power, IMAGES)), "rows": breaks(measured)},
    }


def write(name: str, about: str, line: str, figures: dict[str, dict]) -> None:
    """A file of results; an entry of its head that is there already stays, but for the date where figures changed."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    head = {"about": about, "command": line, "commit": None, "hardware": None, "software": None, "seeds": None}
    head |= {key: before[key] for key in ("commit", "hardware", "software", "seeds") if key in before}
    day = before["date"] if before.get("figures") == figures else time.strftime("%Y-%m-%d")
    text = json.dumps(head | {"date": day, "figures": figures}, ensure_ascii=False, indent=2)
    path.write_text(re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text) + "\n")


def write_comparison(source: str, rows: list[list]) -> None:
    heads = "cores", "time", "surrogate, s", "crafting, s", "all, s", "forecast − run"
    pair = "{} → {}"
    forms = {"time": "{}", "surrogate, s": pair, "crafting, s": pair, "all, s": pair, "forecast − run": "{:+} %"}
    about = "Forecast → measured seconds of protect, from the start of the program to its end"
    figures = {"runs": {"columns": columns(*heads, **forms), "rows": rows}}
    write("forecast", about, f"python examples/scaling.py compare {source} DIR", figures)


def main(action: str = "", source: str = "", out: str = "") -> None:
    if action == "compare":
        write_comparison(Path(source).name, compare(source, Path(out)))
        return
    measured = measure(source) if action == "measure" else known()
    about = "Simulated, GPUs by arithmetic: nothing of it has run on a GPU; the seeds of the simulation are 0 to 39"
    write("scaling", about, "python examples/scaling.py measure SOURCE", tables(measured))


if __name__ == "__main__":
    main(*sys.argv[1:])
