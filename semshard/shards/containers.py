"""The parts of a PNG, JPEG or WebP file around its pixels: they are checked, or metadata is put among them.

PNG specification (third edition), section 5; ITU-T T.81, annex B, with JFIF 1.02, Exif 2.32 and ICC.1 annex B.4 for the
APP segments; RFC 9649 for WebP. Nothing is decompressed here, so no hostile file can grow, and what a compressed stream
holds after its last pixel is not seen.

The three `*_size` return the (height, width) that the header states, and raise `ShardError` where the structure is
broken, or the file holds more than pixels and the metadata that `keep` names. The three `*_with` add metadata.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from ..errors import ShardError
from ..sources.image_metadata import Metadata

Size = tuple[int, int]  # height, width

MOST_PIXELS = 1 << 28

# What a caller may allow besides pixels.
BLOCKS: dict[str, tuple[str, ...]] = {
    "none": (), "icc": ("icc",), "xmp": ("xmp",), "icc+xmp": ("icc", "xmp"), "all": ("icc", "exif", "xmp")
}  # fmt: skip

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {"icc": {b"iCCP"}, "exif": {b"eXIf"}, "xmp": {b"iTXt"}}
PNG_ICC = b"ICC Profile\0\0"  # the name, and how it is compressed
PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"  # keyword, not compressed, no language, no translated keyword
_PNG_ICC_ROOM = 1 << 20  # Pillow opens no PNG with a larger profile
_PNG_ROOM = 7_990_000  # libpng and OpenCV open none with a chunk of 8 MB

EXIF_HEAD = b"Exif\0\0"
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_ICC = b"ICC_PROFILE\0"
_JPEG_KEPT = {"icc": (0xE2, JPEG_ICC), "exif": (0xE1, EXIF_HEAD), "xmp": (0xE1, JPEG_XMP)}
_JPEG_ROOM = 65533  # bytes in a segment, besides the two of its length
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2}  # Huffman coded: baseline, extended, progressive
_JPEG_TABLES = {0xC4, 0xDB, 0xDD}  # DHT, DQT, DRI
_JPEG_SCANS = 64  # a progressive picture has ten; each scan is a pass over all pixels, so a few bytes could cost hours
_SOS, _EOI = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)  # in coded data: neither a stuffed byte nor a restart

_WEBP_ORDER = [b"VP8X", b"ICCP", b"VP8L", b"EXIF", b"XMP "]
_WEBP_FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
_WEBP_KEPT = {"icc": {b"VP8X", b"ICCP"}, "exif": {b"VP8X", b"EXIF"}, "xmp": {b"VP8X", b"XMP "}}


def png_size(data: bytes, keep: str = "none") -> Size:
    """Of an 8-bit RGB PNG of IHDR, IDAT and IEND; `keep` adds iCCP, eXIf and the XMP text. Sums are checked."""
    if not data.startswith(_SIGNATURE):
        raise ShardError("not a PNG")
    allowed = {b"IHDR", b"IDAT", b"IEND"}.union(*(_PNG_KEPT[block] for block in BLOCKS[keep]))
    size, pictures = (0, 0), 0
    for place, (kind, body) in enumerate(png_chunks(data)):
        if kind not in allowed or (kind == b"iTXt" and not body.startswith(PNG_XMP)):
            raise ShardError(f"the PNG carries more than pixels: chunk {kind.decode('latin-1')}")
        if (kind == b"IHDR") != (place == 0) or (kind == b"IEND" and body):
            raise ShardError(f"the PNG is damaged in its {kind.decode('latin-1')} chunk")
        if kind == b"IHDR":
            size = _png_header(body)
        pictures += kind == b"IDAT"
    if not pictures:
        raise ShardError("the PNG has no picture in it")
    return size


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _part(data, at, 8, "PNG"))
        whole = _part(data, at + 4, length + 8, "PNG")
        if int.from_bytes(whole[-4:]) != zlib.crc32(whole[:-4]):
            raise ShardError(f"the PNG is damaged in its {kind.decode('latin-1')} chunk")
        yield kind, whole[4:-4]
        at += 12 + length
    if at != len(data):
        raise ShardError("something follows the PNG")


def _png_header(body: bytes) -> Size:
    if len(body) != 13:
        raise ShardError("the PNG is damaged in its IHDR chunk")
    width, height, depth, colour, packing, filters, interlace = struct.unpack(">IIBBBBB", body)
    what = f"the PNG is {width} × {height}, {depth} bits, colour type {colour}"
    if (depth, colour, packing, filters) != (8, 2, 0, 0) or interlace > 1:
        raise ShardError(f"{what}; expected 8-bit RGB")
    return _bounded(height, width, what)


def png_with(metadata: Metadata, data: bytes) -> bytes:
    """This PNG with metadata after its header. Raises `ShardError` where the result would not open everywhere."""
    chunks = b""
    if metadata.icc:
        _check_fits("an ICC profile", metadata.icc, _PNG_ICC_ROOM, "PNG")
        chunks += _png_chunk(b"iCCP", PNG_ICC + zlib.compress(metadata.icc, 9))
    if metadata.exif:
        _check_fits("Exif metadata", metadata.exif, _PNG_ROOM, "PNG")
        chunks += _png_chunk(b"eXIf", metadata.exif.removeprefix(EXIF_HEAD))
    if metadata.xmp:
        _check_fits("XMP metadata", metadata.xmp, _PNG_ROOM, "PNG")
        chunks += _png_chunk(b"iTXt", PNG_XMP + metadata.xmp)
    behind = len(_SIGNATURE) + 25  # IHDR
    return b"".join((data[:behind], chunks, data[behind:]))


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def jpeg_size(data: bytes, keep: str = "none") -> Size:
    """Of an 8-bit JPEG, Huffman coded, of a bare JFIF header, tables and scans; `keep` adds ICC, Exif and XMP."""
    size, scans = (0, 0), 0
    for kind, body in jpeg_segments(data):
        if kind in _JPEG_FRAMES and size == (0, 0):
            size = _jpeg_frame(body)
        elif kind == _SOS and size != (0, 0):
            scans += 1
        elif kind == 0xFE or 0xE0 <= kind <= 0xEF:
            _jpeg_extra(kind, body, keep)
        elif kind not in _JPEG_TABLES:
            raise ShardError(f"the JPEG is damaged: marker {kind:02X} is not allowed there")
        if scans > _JPEG_SCANS:
            raise ShardError(f"the JPEG has more than {_JPEG_SCANS} scans")
    if not scans:
        raise ShardError("the JPEG has no picture in it")
    return size


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    if not data.startswith(b"\xff\xd8"):
        raise ShardError("not a JPEG")
    at = 2
    while True:
        first, kind = _part(data, at, 2, "JPEG")
        if first != 0xFF:
            raise ShardError(f"the JPEG is damaged: no marker at byte {at}")
        if kind == _EOI:
            break
        length = int.from_bytes(_part(data, at + 2, 2, "JPEG"))
        if length < 2:
            raise ShardError(f"the JPEG is damaged: an empty segment at byte {at}")
        yield kind, _part(data, at + 4, length - 2, "JPEG")
        at += 2 + length
        if kind == _SOS:
            coded = _MARKER.search(data, at)
            at = coded.start() if coded else len(data)
    if at + 2 != len(data):
        raise ShardError("something follows the JPEG")


def _jpeg_frame(body: bytes) -> Size:
    if len(body) < 6:
        raise ShardError("the JPEG is damaged in its frame header")
    depth, height, width, components = struct.unpack_from(">BHHB", body)
    what = f"the JPEG is {width} × {height}, {depth} bits, {components} components"
    if (depth, components, len(body)) != (8, 3, 15):
        raise ShardError(f"{what}; expected 8 bits and 3 components")
    return _bounded(height, width, what)


def _jpeg_extra(kind: int, body: bytes, keep: str) -> None:
    """A JFIF header can hold a thumbnail, perhaps of the clean image: only the fourteen bytes without one pass."""
    if kind == 0xE0 and body.startswith(b"JFIF\0") and len(body) == 14 and body[12:] == b"\0\0":
        return
    allowed = (_JPEG_KEPT[block] for block in BLOCKS[keep])
    if not any(kind == marker and body.startswith(head) for marker, head in allowed):
        raise ShardError(f"the JPEG carries more than pixels: {'COM' if kind == 0xFE else f'APP{kind - 0xE0}'}")


def jpeg_with(metadata: Metadata, data: bytes) -> bytes:
    """This JPEG with metadata behind its JFIF header. Raises `ShardError` where it is too large."""
    segments = b""
    if metadata.exif:
        exif = metadata.exif.removeprefix(EXIF_HEAD)
        _check_fits("Exif metadata", exif, _JPEG_ROOM - len(EXIF_HEAD), "JPEG")
        segments += _jpeg_segment(0xE1, EXIF_HEAD + exif)
    if metadata.xmp:
        _check_fits("XMP metadata", metadata.xmp, _JPEG_ROOM - len(JPEG_XMP), "JPEG")
        segments += _jpeg_segment(0xE1, JPEG_XMP + metadata.xmp)
    room = _JPEG_ROOM - len(JPEG_ICC) - 2
    _check_fits("an ICC profile", metadata.icc, 255 * room, "JPEG")
    pieces = [metadata.icc[at : at + room] for at in range(0, len(metadata.icc), room)]
    for number, piece in enumerate(pieces, 1):
        segments += _jpeg_segment(0xE2, JPEG_ICC + bytes((number, len(pieces))) + piece)
    behind = 4 + int.from_bytes(data[4:6]) if data[2:4] == b"\xff\xe0" else 2
    return b"".join((data[:behind], segments, data[behind:]))


def _jpeg_segment(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body


def _check_fits(what: str, block: bytes, room: int, name: str) -> None:
    if len(block) > room:
        raise ShardError(f"{what} of {len(block)} bytes does not fit into a {name}, which takes {room}")


def webp_size(data: bytes, keep: str = "none") -> Size:
    """Of a lossless WebP without alpha or animation; `keep` adds VP8X with ICCP, EXIF and XMP."""
    chunks: dict[bytes, bytes] = {}
    allowed = {b"VP8L"}.union(*(_WEBP_KEPT[block] for block in BLOCKS[keep]))
    for kind, body in webp_chunks(data):
        name = kind.decode("latin-1").strip()
        if kind == b"VP8 ":
            raise ShardError("the WebP is lossy")
        if kind not in allowed:
            raise ShardError(f"the WebP carries more than pixels: chunk {name}")
        if kind in chunks or any(_WEBP_ORDER.index(kind) < _WEBP_ORDER.index(earlier) for earlier in chunks):
            raise ShardError(f"the WebP is damaged: chunk {name} is not allowed there")
        chunks[kind] = body
    if b"VP8L" not in chunks:
        raise ShardError("the WebP has no picture in it")
    height, width = _webp_header(chunks.pop(b"VP8L"))
    if chunks and chunks.pop(b"VP8X", b"") != _webp_canvas(height, width, list(chunks)):
        raise ShardError("the WebP is damaged in its VP8X chunk")
    return height, width


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ShardError("not a WebP")
    end = 8 + int.from_bytes(data[4:8], "little")
    _part(data, 0, end, "WebP")
    if end < len(data):
        raise ShardError("something follows the WebP")
    at = 12
    while at < end:
        kind, length = struct.unpack("<4sI", _part(data, at, 8, "WebP"))
        yield kind, _part(data, at + 8, length, "WebP")
        if length % 2 and _part(data, at + 8 + length, 1, "WebP") != b"\0":
            raise ShardError("the WebP is damaged between two chunks")
        at += 8 + length + length % 2


def _webp_header(body: bytes) -> Size:
    """VP8L: a signature byte, then 14 bits of width - 1, 14 of height - 1, one of alpha, three of version."""
    bits = int.from_bytes(body[1:5], "little")
    if len(body) < 5 or body[0] != 0x2F or bits >> 29:
        raise ShardError("the WebP is damaged in its VP8L chunk")
    if bits >> 28:
        raise ShardError("the WebP carries more than pixels: an alpha channel")
    width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return _bounded(height, width, f"the WebP is {width} × {height}")


def _webp_canvas(height: int, width: int, chunks: list[bytes]) -> bytes:
    flags = sum(_WEBP_FLAGS[kind] for kind in chunks)
    return struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def webp_with(metadata: Metadata, data: bytes) -> bytes:
    """This WebP, which is a lone VP8L chunk, with metadata around that chunk."""
    exif = metadata.exif.removeprefix(EXIF_HEAD)
    held = {kind: body for kind, body in ((b"ICCP", metadata.icc), (b"EXIF", exif), (b"XMP ", metadata.xmp)) if body}
    parts = [_webp_chunk(b"VP8X", _webp_canvas(*webp_size(data), list(held)))]
    for kind in _WEBP_ORDER[1:]:
        parts.append(data[12:] if kind == b"VP8L" else _webp_chunk(kind, held[kind]) if kind in held else b"")
    return b"".join((b"RIFF", struct.pack("<I", 4 + sum(map(len, parts))), b"WEBP", *parts))


def _webp_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) % 2)


def _bounded(height: int, width: int, what: str) -> Size:
    if not height * width:
        raise ShardError(f"{what}: it has no pixels")
    if height * width > MOST_PIXELS:
        raise ShardError(f"{what}; at most {MOST_PIXELS} pixels are read")
    return height, width


def _part(data: bytes, at: int, length: int, name: str) -> bytes:
    if at + length > len(data):
        raise ShardError(f"the {name} is cut short")
    return data[at : at + length]
