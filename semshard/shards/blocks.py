"""The metadata of a published picture file, read back block by block, as bytes.

Raises `ShardError` where a block occurs twice: a reader would show one of them, and the other would hide.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

from ..errors import ShardError
from ..sources.image_metadata import MOST_BYTES, Metadata
from .containers import (
    EXIF_HEAD,
    JPEG_ICC,
    JPEG_XMP,
    PNG_ICC,
    PNG_XMP,
    jpeg_segments,
    png_chunks,
    webp_chunks,
)

Block = tuple[str, bytes]


def metadata_in(data: bytes, format: str) -> Metadata:
    """The metadata of a file that `encode_pictures` wrote. Raises `ShardError` where the file is broken."""
    blocks = dict[str, bytes]()
    for name, body in _READERS[format](data):
        if name in blocks:
            raise ShardError(f"it holds {name.upper()} metadata twice")
        blocks[name] = body
    return Metadata(**blocks)


def _png(data: bytes) -> Iterator[Block]:
    for kind, body in png_chunks(data):
        if kind == b"iCCP":
            yield "icc", _unpacked(body.removeprefix(PNG_ICC))
        elif kind == b"eXIf":
            yield "exif", EXIF_HEAD + body
        elif kind == b"iTXt" and body.startswith(PNG_XMP):
            yield "xmp", body.removeprefix(PNG_XMP)


def _jpeg(data: bytes) -> Iterator[Block]:
    profile = list[bytes]()
    for kind, body in jpeg_segments(data):
        if kind == 0xE1 and body.startswith(EXIF_HEAD):
            yield "exif", body
        elif kind == 0xE1 and body.startswith(JPEG_XMP):
            yield "xmp", body.removeprefix(JPEG_XMP)
        elif kind == 0xE2 and body.startswith(JPEG_ICC):
            profile.append(body.removeprefix(JPEG_ICC))
    for number, piece in enumerate(profile, 1):
        if piece[:2] != bytes((number & 255, len(profile) & 255)):
            raise ShardError("the pieces of its profile are not numbered in order")
    if profile:
        yield "icc", b"".join(piece[2:] for piece in profile)


def _webp(data: bytes) -> Iterator[Block]:
    for kind, body in webp_chunks(data):
        if kind == b"ICCP":
            yield "icc", body
        elif kind == b"EXIF":
            yield "exif", EXIF_HEAD + body
        elif kind == b"XMP ":
            yield "xmp", body


def _unpacked(packed: bytes) -> bytes:
    """A compressed profile; one that would be larger than any that is published is not unpacked."""
    stream, most = zlib.decompressobj(), MOST_BYTES["ICC profile"]
    try:
        profile = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise ShardError(f"its profile is damaged ({error})") from None
    if len(profile) > most or not stream.eof:
        raise ShardError("its profile is damaged or too large")
    return profile


_READERS: dict[str, Callable[[bytes], Iterator[Block]]] = {"png": _png, "jpeg": _jpeg, "webp": _webp}
