"""What describes a published folder, made again from the manifest and compared: README.md and croissant.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import ShardError
from ..publishing import GIVEN, MADE, description, revision_of
from ..shards import CARD_REVISION, Shards
from .failure import Failure

Remark = Callable[[str], None]


def described(shards: Shards, remark: Remark) -> Iterator[Failure]:
    """What is wrong with the files that describe a folder.

    A manifest that was written before there were any asks for none, and another revision of them cannot be made again:
    neither breaks a promise, so both are remarks.
    """
    folder, asked = shards.directory, shards.manifest.get("card")
    present = [name for name in (*MADE, *GIVEN) if (folder / name).exists()]
    if not all((folder / name).is_file() for name in present):
        return  # reported with the folder
    if asked is None and not present:
        remark(f"{shards.url} is older than data cards: semshard card {shards.url} writes one")
        return
    for name in MADE:
        if name not in present:
            yield Failure(name, "", "is missing; semshard card writes it")
    try:
        expected = description(folder)
    except ShardError as error:
        yield Failure(MADE[0], "", f"cannot be made again: {shards.message_of(error)}")
        return
    for name in (name for name in MADE if name in present):
        data = (folder / name).read_bytes()
        if data == expected[name]:
            continue
        revision = revision_of((folder / MADE[0]).read_bytes()) if MADE[0] in present else None
        if asked != CARD_REVISION and revision not in (None, CARD_REVISION):
            remark(
                f"{name} is of another version of semshard and was not compared: "
                f"semshard card {shards.url} writes it anew"
            )
        else:
            problem = "is not what semshard card makes of the manifest; it was changed, or is of another version"
            yield Failure(name, "", problem)
