"""The figures of sweep and robustness as PNGs, drawn by matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INK, _FAINT = "#1d2129", "#9aa3af"
_COLOURS = ("#2563eb", "#059669", "#d97706", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")
_MARKERS = "osD^vP*X"

Line = tuple[str, Sequence[float], float | None]  # name, a value for each x, the same for clean images


def lines_png(title: str, x_name: str, x: Sequence[Any], lines: Sequence[Line], chance: float) -> bytes:
    """Test accuracy in % against a setting: joined by a line where the setting is a number, points otherwise."""
    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    numbers = all(isinstance(value, int | float) for value in x)
    places = list(x) if numbers else list(range(len(x)))
    for number, (name, values, clean) in enumerate(lines):
        colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
        offset = 0.0 if numbers else (number - (len(lines) - 1) / 2) * 0.12
        shifted = [place + offset for place in places]
        axes.plot(shifted, [100 * v for v in values], marker, ls="-" if numbers else "", color=colour, label=name)
        if clean is not None:
            axes.axhline(100 * clean, ls=":", lw=1.2, color=colour)
    axes.axhline(100 * chance, lw=0.8, color=_FAINT)
    if not numbers:
        axes.set_xticks(places, [str(value) for value in x])
    axes.set_ylim(0, None)
    _label_axes(axes, title, x_name, "test accuracy on clean images, %")
    axes.legend(title="victim (dotted: trained on clean images)", fontsize=8, title_fontsize=8, frameon=False)
    return _png(figure)


def scatter_png(panels: Sequence[tuple[str, Sequence[float], float | None]], y: Sequence[float], names: Sequence[str],
                title: str) -> bytes:  # fmt: skip
    """Protection against each robustness, a panel each: (name, values, Pearson's r)."""
    figure = Figure(figsize=(4.6 * len(panels), 4.2), dpi=150, layout="constrained")
    for number, (name, values, r) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        axes.scatter(values, y, color=_COLOURS[number], s=28, zorder=2)
        for label, at, height in zip(names, values, y, strict=True):
            axes.annotate(label, (at, height), (4, 4), textcoords="offset points", fontsize=7, color=_INK)
        axes.margins(0.14)
        head = title if not number else ""
        _label_axes(axes, head, name, "protection F = 1 − accuracy" if not number else "")
        if r is not None:
            axes.text(
                0.03, 0.03, f"Pearson r = {r:+.2f}".replace("-", "−"), transform=axes.transAxes, fontsize=10, color=_INK
            )
    return _png(figure)


def _label_axes(axes: Axes, title: str, x_name: str, y_name: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=_INK)
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", lw=0.4, color=_FAINT, alpha=0.5)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata=_METADATA)
    return file.getvalue()


_METADATA: Mapping[str, str | None] = {"Software": None}
