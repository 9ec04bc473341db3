"""The metadata of published images: as the manifest promises, and, byte for byte, what their originals give.

By itself: no place and no serial number, nothing but rights where only these are kept, XMP in the form that
protect writes, and a data-mining statement that is at least the promised one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import ShardError
from ..shards import Shards, metadata_in
from ..sources.image_metadata import Metadata, MetadataChoice, reservation
from ..sources.private_metadata import private_in_exif, without_private
from ..sources.rights import at_least_as_strict, is_right, mining_of, stated_keys
from ..sources.xmp import UnusableXmp, read_packet, write_packet

BLOCKS = {"icc": "colour profile", "exif": "EXIF", "xmp": "XMP packet"}


def choice_of(shards: Shards) -> MetadataChoice:
    """What metadata the images have, as the manifest says. Without any, a sample's container holds pixels alone, which
    its own check says.
    """
    settings = shards.manifest["settings"]
    later = {name: settings[name] for name in ("with_location", "reserve") if name in settings}  # not in old manifests
    return MetadataChoice(settings["keep_metadata"], **later)


def rights_of(data: bytes, shards: Shards, choice: MetadataChoice, fail: Callable[[str], None]) -> Metadata | None:
    """The metadata of an image file that was checked by itself; None where it breaks a promise, which is reported."""
    try:
        found = metadata_in(data, shards.fields.format)
    except ShardError as error:
        fail(str(error))
        return None
    broken = list(broken_promises(found, choice))
    for problem in broken:
        fail(problem)
    return None if broken else found


def broken_promises(found: Metadata, choice: MetadataChoice) -> Iterator[str]:
    """What of an image's metadata breaks a promise, as far as the image alone shows it."""
    if choice.keep_metadata in ("none", "icc"):
        promised = {reservation(choice.reserve, stated) for stated in stated_keys()}
        if found.xmp not in promised:
            yield "its XMP packet is not the reservation that the manifest promises"
        return
    if found.exif and not choice.with_location:
        try:
            yield from (f"its EXIF publishes {what}" for what in sorted(private_in_exif(found.exif)))
        except Exception:  # Pillow raises nearly anything on damaged bytes
            yield "its EXIF cannot be read"
    try:
        properties = read_packet(found.xmp) if found.xmp else []
    except UnusableXmp as why:
        yield f"its XMP packet cannot be read: {why}"
        return
    dropped = set[str]()
    harmless = without_private(properties, choice.with_location, dropped)
    yield from (f"its XMP packet publishes {what}" for what in sorted(dropped))
    if not dropped and harmless != properties:
        yield "its XMP packet turns the picture"
    if found.xmp and write_packet(properties) != found.xmp:
        yield "its XMP packet is not in the form that protect writes"
    if choice.keep_metadata == "rights" and not all(is_right(one.name) for one in properties):
        yield "its XMP packet holds more than rights"
    if not at_least_as_strict(mining_of(properties), choice.reserve):
        yield "its XMP packet lacks the reservation that the manifest promises"
