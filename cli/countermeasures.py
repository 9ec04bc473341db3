"""semshard countermeasures"""

from __future__ import annotations

from .command import errors_in_one_line
from .options import Json


@errors_in_one_line
def countermeasures(*, json: Json = False) -> None:
    """List what attackers do against the noise.

    What each does, when it is applied, what it costs, and where it comes from.
    """
    import semshard

    from . import show

    listed = semshard.countermeasures()
    show.problems_of("countermeasures")
    if json:
        show.as_json([each.to_json() for each in listed])
        return
    caption = (
        "besides adversarial training (--rho-a), other networks (--victim), given weights (--weights) and a partly "
        "protected collection (--protected-fraction)"
    )
    rows = [(each.name, each.line, each.when, each.cost, each.paper) for each in listed]
    head = "--countermeasure", "what it does", "applied", "cost", "source"
    show.listing("countermeasures", head, rows, caption)
