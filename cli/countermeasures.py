"""semshard countermeasures"""

from __future__ import annotations

import typer

from .command import Json, errors_in_one_line


def countermeasures(*, json: Json = False) -> None:
    """List what attackers do against the noise: what each does, where it comes from, and when it is applied."""
    import semshard

    from . import show

    found = semshard.countermeasures()
    if json:
        show.as_json([each.to_json() for each in found])
        return
    caption = (
        "beside adversarial training (--rho-a), other networks (--victim), given weights (--weights) and a partly "
        "protected collection (--protected-fraction)"
    )
    rows = [(each.name, each.line, each.when, each.paper) for each in found]
    show.listing("countermeasures", ("--countermeasure", "what it does", "applied", "source"), rows, caption)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("countermeasures")(errors_in_one_line(countermeasures))
