"""The report of a verification: one HTML file that carries its pictures, and the sentence that says what it means."""

from __future__ import annotations

import base64
import functools
import io
from importlib import resources
from pathlib import Path
from typing import Any

from ..atomic import atomic_write

COLOURS = {"clean": "#2563eb", "protected": "#dc2626", "control": "#9ca3af"}
NAMES = {"clean": "clean originals", "protected": "the shards", "control": "originals + random noise"}


def verdict(rho_a: str, final: dict[str, float], chance: float) -> str:
    """What the `final` test accuracies (in [0, 1], by data) of one radius mean, in a plain sentence.

    The rule: the share of what the originals teach above chance that the shards still teach. Below a third of it
    they teach little, below two thirds clearly less, otherwise they do not protect.
    """
    clean, protected, control = final["clean"], final["protected"], final["control"]
    how = "Standard training" if rho_a == "0/255" else f"Adversarial training at {rho_a}"
    numbers = (
        f"{how} on the shards reaches {protected:.1%} on clean images, on the originals {clean:.1%}, "
        f"on the originals with random noise of the same size {control:.1%} (chance: {chance:.1%})"
    )
    if clean - chance < 0.1:
        return f"{numbers}: the victim learns too little from the originals to tell whether the noise protects."
    taught = (protected - chance) / (clean - chance)
    if taught < 1 / 3:
        return f"{numbers}: the shards teach this attacker little."
    if taught < 2 / 3:
        return f"{numbers}: the shards teach this attacker clearly less, but they do teach."
    return f"{numbers}: the shards do not protect against this attacker."


def write_report(path: Path, about: dict[str, Any], manifest: dict[str, Any], grid: bytes) -> None:
    """One self-contained HTML page: verdict, table, accuracy curves, images (PNG bytes), settings."""
    radii = list(dict.fromkeys(result["rho_a"] for result in about["results"]))
    page = _template().render(
        about=about,
        manifest=manifest,
        radii=radii,
        names=NAMES,
        colours=COLOURS,
        curves=[_data_url(_curves(about, rho), "svg+xml") for rho in radii],
        grid=_data_url(grid, "png"),
    )
    with atomic_write(path) as file:
        file.write(page.encode())


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    return environment.from_string(resources.files(__package__).joinpath("report.html.j2").read_text())


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _curves(about: dict[str, Any], rho_a: str) -> bytes:
    """Test accuracy over training steps of the victims of one radius, as SVG."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context({"font.family": "sans-serif", "svg.hashsalt": "semshard", "font.size": 10}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for result in (result for result in about["results"] if result["rho_a"] == rho_a):
            steps = [point["step"] for point in result["curve"]]
            test = [100 * point["test"] for point in result["curve"]]
            axes.plot(steps, test, color=COLOURS[result["data"]], lw=2, label=NAMES[result["data"]])
        axes.axhline(100 * about["chance"], color="#111827", lw=1, ls=":", label="chance")
        axes.set_ylim(0, 100)
        axes.set_xlim(left=0)
        axes.set_xlabel("training step")
        axes.set_ylabel("accuracy on clean images, %")
        axes.grid(color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, ncols=2, fontsize=9)
        file = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return file.getvalue()
