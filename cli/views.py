"""semshard views"""

from __future__ import annotations

import typer

from .command import Json, errors_in_one_line


def views(*, json: Json = False) -> None:
    """List the families of views that noise can be made for: what each does to a picture."""
    import semshard
    from semshard.settings import NAMED_VIEWS

    from . import show

    found = semshard.views()
    if json:
        show.as_json([each.to_json() for each in found])
        return
    caption = (
        "a list has one of the first two, then any others with probabilities, in the order they are applied in, like "
        "crop-flip,grey=0.5,jpeg=0.25; paper is the first alone, hardened the first with "
        f"{','.join(NAMED_VIEWS['hardened'])} and a training of the surrogate that goes with them"
    )
    rows = [(each.name, each.line) for each in found]
    show.listing("views", ("--views", "what it does to a picture"), rows, caption)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("views")(errors_in_one_line(views))
