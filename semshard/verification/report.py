"""The page of a report: one HTML file that contains its pictures and loads nothing from a network.

It shows what report.json says, and a few samples. This module arranges that for the page, `figures` draws, and
report.html.j2 is the template.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import atomic_write
from ..inspection.remainder import sentence
from ..progress import duration
from .figures import SERIES, amplified, curves_svg, data_url, histogram_svg, png, shade

PANELS = 24  # curves shown; nobody reads a page with more
LISTED = 20  # classes shown from each end where there are more than twice as many
STARTS = {"scratch": "from scratch", "probe": "linear probe", "full": "fine-tuned"}
NOISE = {  # name in report.json: heading, unit, whether the values are whole numbers, what they cannot exceed
    "linf": ("Largest change of a pixel", "grey levels", True, None),
    "psnr": ("PSNR", "dB", False, None),
    "ssim": ("SSIM", "SSIM", False, 1.0),
}


@dataclass(frozen=True)
class Picture:
    """A sample to look at: class name, clean and protected pixels uint8 (H, W, 3)."""

    name: str
    clean: NDArray[np.uint8]
    protected: NDArray[np.uint8]


def write_report(path: Path, about: dict[str, Any], manifest: dict[str, Any], pictures: Sequence[Picture]) -> None:
    """Write one self-contained HTML page to `path`; equal input gives equal bytes.

    `about` is the object of report.json (schema version 7), `manifest` that of the shards. With `pictures` the page
    contains clean originals: keep it private.
    """
    strongest = next(a for a in about["attackers"] if a["name"] == about["verdict"]["attacker"])
    by_accuracy = sorted(about["attackers"], key=lambda attacker: -attacker["data"]["protected"]["best"])
    size = (7.2, 3.2) if len(by_accuracy) == 1 else (3.6, 2.4)
    times = 127 // max(1, manifest["noise"]["linf_max"])  # what the shown noise is multiplied by
    page = _template().render(
        about=about,
        manifest=manifest,
        series=SERIES,
        starts=STARTS,
        kinds=[kind for kind in SERIES if any(kind in attacker["data"] for attacker in by_accuracy)],
        strongest=strongest,
        heat=heat(about["attackers"]),
        curves=[(a, data_url(curves_svg(a["data"], about["chance"], size), "svg+xml")) for a in by_accuracy[:PANELS]],
        stops=[(a, _unstopped(a), stop_table(a["data"]["protected"]["seeds"])) for a in by_accuracy if _stopped(a)],
        times=times,
        pictures=[_shown(picture, times) for picture in pictures],
        per_class=per_class(strongest["data"], about["classes"]),
        noise=[_histogram(*NOISE[name], about["noise"][name]["values"]) for name in NOISE],
        remainder=sentence(about["remainder"]) if about["remainder"] else "",
        seeds=_seeds(by_accuracy),
    )
    with atomic_write(path) as file:
        file.write(page.encode())


def _seeds(attackers: list[dict[str, Any]]) -> list[int]:
    """Every seed that a victim was trained with."""
    summaries = (summary for attacker in attackers for summary in attacker["data"].values())
    return list(dict.fromkeys(victim["seed"] for summary in summaries for victim in summary["seeds"]))


def heat(attackers: list[dict[str, Any]]) -> tuple[list[str], list[tuple[dict[str, Any], list[Any]]]]:
    """The heat map: its radii, and a row for attackers that differ in their radius only: (one of them, all of them).

    A row has an entry for every radius: an attacker, or None where that radius was not tried.
    """
    radii = list(dict.fromkeys(attacker["rho_a"] for attacker in attackers))
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for a in attackers:
        row = a["network"], a["start"], a["countermeasure"], a["protected_fraction"], a["longer"]
        rows.setdefault(row, {})[a["rho_a"]] = a
    return radii, [(next(iter(row.values())), [row.get(rho) for rho in radii]) for row in rows.values()]


def _stopped(attacker: dict[str, Any]) -> bool:
    return any(seed["stops"] for seed in attacker["data"]["protected"]["seeds"])


def _unstopped(attacker: dict[str, Any]) -> float:
    """Test accuracy after training on the shards to the last step, without early stopping."""
    return statistics.fmean(seed["curve"][-1]["test"] for seed in attacker["data"]["protected"]["seeds"])


def stop_table(seeds: list[dict[str, Any]]) -> tuple[list[int], list[tuple[float, list[Any]]]]:
    """The patiences, and for each share of clean images the (accuracy, step) that early stopping keeps.

    Means over seeds; None where a rule was not tried.
    """
    by_rule: dict[tuple[float, int], list[tuple[float, int]]] = {}
    for stop in (stop for seed in seeds for stop in seed["stops"]):
        by_rule.setdefault((stop["clean_share"], stop["patience"]), []).append((stop["test"], stop["step"]))
    means = {
        rule: tuple(statistics.fmean(column) for column in zip(*runs, strict=True)) for rule, runs in by_rule.items()
    }
    shares, patiences = ([*sorted(set(column))] for column in zip(*means, strict=True))
    return patiences, [(share, [means.get((share, patience)) for patience in patiences]) for share in shares]


def per_class(data: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    """Accuracy of each class on clean test images, (name, originals, shards), those that the shards teach best
    first.

    `lists` holds (heading, classes): all of them in one list or two halves, or both ends where there are many.
    """
    clean, shards = (_mean_by_class(data[kind]["seeds"]) for kind in ("clean", "protected"))
    rows = zip(classes, clean, shards, strict=True)
    known = [(name, a, b) for name, a, b in rows if a is not None and b is not None]
    known.sort(key=lambda row: -row[2])
    if len(known) > 2 * LISTED:
        lists = [(f"{LISTED} learned best", known[:LISTED]), (f"{LISTED} learned least", known[-LISTED:])]
    else:
        half = len(known) if len(known) <= 12 else -(-len(known) // 2)
        lists = [("", known[:half]), ("", known[half:])]
    return {
        "lists": [(heading, rows) for heading, rows in lists if rows],
        "hidden": max(0, len(known) - 2 * LISTED),
        "untested": len(classes) - len(known),
    }


def _mean_by_class(seeds: list[dict[str, Any]]) -> list[float | None]:
    columns = zip(*(seed["per_class"] for seed in seeds), strict=True)
    return [None if None in shares else statistics.fmean(shares) for shares in columns]


def _shown(picture: Picture, times: int) -> dict[str, Any]:
    """A picture for the page; a small one is enlarged so that its pixels can be seen."""
    tiles = {"clean": picture.clean, "noise": amplified(picture.clean, picture.protected, times)}
    tiles["protected"] = picture.protected
    height, width = picture.clean.shape[:2]
    urls = {name: data_url(png(pixels), "png") for name, pixels in tiles.items()}
    return {"name": picture.name, "width": width, "height": height, "small": max(height, width) < 128, **urls}


def _histogram(heading: str, unit: str, whole: bool, bound: float | None, values: list[Any]) -> dict[str, Any]:
    """A histogram and its numbers; PSNR is infinite, or null in JSON, for a sample that did not change."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    ends = (min(finite), statistics.median(finite), max(finite)) if finite else ()
    return {
        "heading": heading,
        "unit": "" if unit == heading else unit,
        "figure": data_url(histogram_svg(finite, unit, whole=whole, bound=bound), "svg+xml") if finite else None,
        "summary": [f"{value:.4g}" for value in ends],
        "samples": len(finite),
        "infinite": len(values) - len(finite),
    }


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "short": _short, "when": _when, "time": duration, "plain": _plain}
    environment.filters["shade"] = shade
    return environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text("utf-8"))


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _short(share: float) -> str:
    """A setting such as 0.5 or 0.125, without trailing zeros: 50%, 12.5%."""
    return f"{100 * share:.4g}%"


def _when(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M} UTC"


def _plain(value: Any) -> str:
    """A setting as text: lists with commas, nothing as a dash."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "–"
    return "–" if value is None or value == "" else str(value)
