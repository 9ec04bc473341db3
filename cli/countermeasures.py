"""semshard countermeasures"""

from __future__ import annotations

from .command import errors_in_one_line
from .options import Json


@errors_in_one_line
def countermeasures(*, json: Json = False) -> None:
    """List what attackers do against the noise.

    What each does, what it costs where that is more than a victim's training, when it is applied, and its source.
    """
    import semshard

    from . import show

    listed = semshard.countermeasures()
    if json:
        show.as_json([each.to_json() for each in listed])
        return
    caption = (
        "besides adversarial training (--rho-a), other networks (--victim), given weights (--weights) and a partly "
        "protected collection (--protected-fraction)"
    )
    rows = [
        (each.name, each.line + (f" (cost: {each.cost})" if each.cost else ""), each.when, each.paper)
        for each in listed
    ]
    show.listing("countermeasures", ("--countermeasure", "what it does", "applied", "source"), rows, caption)
