"""semshard methods"""

from __future__ import annotations

from typing import Annotated

import typer

from .command import errors_in_one_line
from .options import Json


@errors_in_one_line
def methods(
    *,
    preset: Annotated[
        str, typer.Option(help="Count the costs with the settings of this preset: paper, medium or quick.")
    ] = "paper",
    json: Json = False,
) -> None:
    """List the methods of protection.

    What each does, where it comes from, what it costs, and what it survives.
    """
    from rich.table import Table
    from rich.text import Text

    import semshard

    from . import show

    listed = semshard.methods(preset)
    show.problems_of("methods")
    if json:
        show.as_json([method.to_json() for method in listed])
        return
    table = Table(title="methods", title_justify="left", title_style="bold", show_lines=True)
    for head, justify in (("--method", "left"), ("what it is", "left"), ("cost", "right"), ("survives", "left")):
        table.add_column(head, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for method in listed:
        cost = "no network" if method.cost is None else f"{method.cost:.2g} ×"
        what = Text.assemble(f"{method.line}\n", (method.paper, "dim"))
        table.add_row(method.name, what, cost, method.survives)
    table.caption = (
        f"cost: passes through the network, relative to sem's, preset {preset}, 50,000 images of CIFAR-10\n"
        "survives: the SEM paper's test accuracy of ResNet-18 on CIFAR-10 (clean data: 90 to 95 %)\n"
        "any other cell of its Table 7: --noise-step none|random|pgd --model-step none|random|pgd"
    )
    show.console.print(table)
