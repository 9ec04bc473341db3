"""The figures of the report: accuracy curves and histograms as SVG, images as PNG, the shades of the heat map.

No text of the user reaches matplotlib: names are part of the page, so a `$` or a letter that a font lacks cannot break
a figure. Equal input gives equal bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#1d2129", "#4b5563", "#e5e7eb"
STYLE = {
    "font.size": 9,
    "svg.hashsalt": "semshard",
    "svg.fonttype": "none",  # the reader's own fonts, and a sixth of the bytes
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}


@dataclass(frozen=True)
class Series:
    """How a kind of training data is named and drawn; dashes and markers differ too, for printing in grey."""

    name: str
    colour: str
    dashes: tuple[float, ...]  # in line widths, as SVG has them; empty: solid
    marker: str


SERIES = {  # in the order of the legend and the table
    "clean": Series("originals", "#1d4ed8", (), ""),
    "protected": Series("shards", "#c2410c", (), "o"),
    "control": Series("control", "#6b7280", (4, 2), ""),
    "rest": Series("unprotected rest", "#0f766e", (1, 1.5), ""),
}
RAMP = ((0xFF, 0xF7, 0xED), (0xFD, 0xC9, 0x8F), (0xEA, 0x6A, 0x1F), (0xA3, 0x36, 0x0A), (0x4A, 0x17, 0x05))


def curves_svg(data: dict[str, Any], chance: float, size: tuple[float, float]) -> bytes:
    """Test accuracy in % over training steps, a line per kind of data; `size` in inches.

    `data` is the `data` of an attacker of report.json. Several seeds are thin lines under their mean.
    """
    figure, axes = _axes(size)
    for kind in (kind for kind in ("rest", "control", "clean", "protected") if kind in data):
        runs = [{p["step"]: 100 * p["test"] for p in seed["curve"]} for seed in data[kind]["seeds"]]
        if len(runs) > 1:
            for run in runs:
                axes.plot(list(run), list(run.values()), color=SERIES[kind].colour, lw=0.7, alpha=0.5)
        steps = sorted(set.intersection(*(set(run) for run in runs)))
        _line(axes, SERIES[kind], steps, [float(np.mean([run[step] for run in runs])) for step in steps])
    axes.axhline(100 * chance, color=INK, lw=1, ls=":")
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("training step")
    axes.set_ylabel("test accuracy, %")
    axes.grid(color=GRID, lw=0.8)
    return _svg(figure)


def _line(axes: Axes, series: Series, x: Sequence[int], y: Sequence[float]) -> None:
    every = max(1, len(x) // 6)
    dashes = (0, series.dashes) if series.dashes else "-"
    marker = series.marker or ("." if len(x) == 1 else "")  # a line of one point would not be seen
    axes.plot(x, y, color=series.colour, lw=1.8, ls=dashes, marker=marker, ms=4, markevery=every, zorder=3)


def histogram_svg(values: Sequence[float], unit: str, *, whole: bool, bound: float | None) -> bytes:
    """A histogram of `values` (finite, at least one), in `unit`, with their median; none can exceed `bound`.

    `whole` values get one bar each, others 30 bars.
    """
    edges = _edges(values, whole, bound)
    counts = np.histogram(values, edges)[0]
    figure, axes = _axes((3.4, 2.1))
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color="#9db2d3", edgecolor="white", lw=0.5)
    axes.axvline(float(np.median(values)), color=INK, lw=1.2, ls="--")
    axes.set_xlim(edges[0], edges[-1])
    axes.locator_params(axis="x", nbins=5, integer=whole)
    axes.locator_params(axis="y", nbins=4, integer=True)
    axes.set_xlabel(unit)
    axes.set_ylabel("samples")
    return _svg(figure)


def _edges(values: Sequence[float], whole: bool, bound: float | None) -> NDArray[np.float64]:
    low, high = min(values), max(values)
    if whole:
        low, high = max(0, low - 3), high + 1  # room around a single bar
        step = max(1, round((high - low) / 40))
        return np.arange(low - 0.5, high + step, step)
    room = max((high - low) / 20, abs(high) / 200, 1e-6)
    high = high + room if bound is None else min(high + room, bound)
    return np.linspace(low - room, high, 31)


def _axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # whatever the reader's matplotlibrc says
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.add_subplot()


def _svg(figure: Figure) -> bytes:
    from matplotlib import style
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.BytesIO()
    with style.context(["default", STYLE]):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return file.getvalue()


def shade(share: float) -> str:
    """The colours of a cell of the heat map, as CSS: pale at 0, dark at 1, also in grey; ink with contrast ≥ 4.5."""
    place = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    low = min(int(place), len(RAMP) - 2)
    pairs = zip(RAMP[low], RAMP[low + 1], strict=True)
    mixed = [round(a + (b - a) * (place - low)) for a, b in pairs]
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in mixed]  # WCAG 2.2, luminance
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    ink = "#000" if luminance > 0.179 else "#fff"
    return f"background: #{bytes(mixed).hex()}; color: {ink}"


def amplified(clean: NDArray[np.uint8], protected: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """The noise, multiplied by `times`, around middle grey: uint8 (H, W, 3)."""
    noise = protected.astype(np.int32) - clean
    shown: NDArray[np.uint8] = np.clip(128 + noise * times, 0, 255).astype(np.uint8)
    return shown


def png(pixels: NDArray[np.uint8]) -> bytes:
    """`pixels`, uint8 (H, W, 3), as they are."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def data_url(data: bytes, kind: str) -> str:
    """An image of that `kind` (png, svg+xml) as a URL that contains it."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
