"""The metadata of published images: as the manifest promises, and, byte for byte, what their originals give.

Without the originals: no place and no serial number, nothing but rights where only these are kept, XMP in the form that
protect writes, and a data-mining statement that is at least the promised one.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import RejectedImage, ShardError
from ..shards import Shards, metadata_in, read_tar
from ..sources.image_metadata import Metadata, MetadataChoice, reservation
from ..sources.private_metadata import private_in_exif, without_private
from ..sources.rights import at_least_as_strict, is_right, mining_of, stated_keys
from ..sources.xmp import UnusableXmp, read_packet, write_packet
from ..threads import ordered_map
from .failure import Failure
from .originals import Originals

_BLOCKS = {"icc": "colour profile", "exif": "EXIF", "xmp": "XMP packet"}


def broken_rights(shards: Shards, originals: Originals | None) -> Iterator[Failure]:
    """Every image whose metadata is not what it should be.

    Originals that were found by their pixels are not compared: pictures that look the same may say different things.
    """
    settings = shards.manifest["settings"]
    later = {name: settings[name] for name in ("with_location", "reserve") if name in settings}  # not in old manifests
    choice = MetadataChoice(settings["keep_metadata"], **later)
    if not choice.anything:
        return  # the container then holds pixels alone, which the sample's own check says
    known = originals if shards.ledger.exists() else None
    for tar in shards.tars:
        try:
            with shards.at_hand(tar):
                pictures = _pictures(shards, tar.name)
                checked = ordered_map(lambda one: (one[0], list(_problems(*one, shards, choice, known))), pictures)
                for key, problems in checked:
                    yield from (Failure(tar.name, key, problem) for problem in problems)
        except ShardError:
            continue  # the tar is broken or missing, which is reported with the shard


def _pictures(shards: Shards, tar: str) -> Iterator[tuple[str, bytes]]:
    for header, data in read_tar(shards.directory / tar):
        key, _, extension = header.name.partition(".")
        if extension == shards.fields.image:
            yield key, data


def _problems(
    key: str, data: bytes, shards: Shards, choice: MetadataChoice, originals: Originals | None
) -> Iterator[str]:
    try:
        found = metadata_in(data, shards.fields.format)
    except ShardError as error:
        yield str(error)
        return
    broken = list(broken_promises(found, choice))
    yield from broken
    if broken or originals is None or key not in originals.numbers:
        return
    try:
        expected = originals.collection.decoded(originals.numbers[key]).metadata
    except RejectedImage:
        return  # reported where pixels are compared
    for name, what in _BLOCKS.items():
        if getattr(found, name) != getattr(expected, name):
            yield f"its {what} is not what its original gives"


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
