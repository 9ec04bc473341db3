"""semshard views"""

from __future__ import annotations

from .command import errors_in_one_line
from .options import Json


@errors_in_one_line
def views(*, json: Json = False) -> None:
    """List the families of views that noise can be made for."""
    import semshard
    from semshard.settings import NAMED_VIEWS

    from . import show

    families = semshard.views()
    if json:
        show.as_json([each.to_json() for each in families])
        return
    caption = (
        "a list has one of the first two, then any others with probabilities, in the order they are applied in, like "
        "crop-flip,grey=0.5,jpeg=0.25; paper is the first alone, hardened the first with "
        f"{','.join(NAMED_VIEWS['hardened'])} (photographs in preset quick: grey=0.3) and a training that suits it"
    )
    rows = [(each.name, each.line) for each in families]
    show.listing("views", ("--views", "what it does to a picture"), rows, caption)
