"""What can be known of an untrusted file without decoding it, so that no file stops a run or delays it.

Before decoding: the work that its pixels would take, which must not grow faster than the file, and the number of its
pictures. After a failure: why it is not a usable image, in one line. The bytes are read here, as Pillow would decode.
"""

from __future__ import annotations

import io
import math
import re
import struct
from contextlib import suppress
from typing import cast

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import RejectedImage

Image.init()  # loads every decoder before threads need one

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # none of them runs a program
MOST_SCANS = 100  # of a JPEG; a progressive one has about ten, and each takes the time of a whole picture

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # of a JPEG, that starts a segment or ends the picture


def check_effort(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuses files that take many times longer than a picture of their size."""
    if (
        image.format in ("JPEG", "MPO")
        and data.count(b"\xff\xda") > MOST_SCANS
        and (scans := _scans(data)) > MOST_SCANS
    ):
        raise RejectedImage(f"broken JPEG: {scans} scans")
    if len(image.tile) > 1:  # strips and tiles of a TIFF, which may name the same pixels again and again
        covered = sum((tile[1][2] - tile[1][0]) * (tile[1][3] - tile[1][1]) for tile in image.tile if tile[1])
        if covered > 4 * len(image.getbands()) * math.prod(image.size):
            raise RejectedImage("broken TIFF: strips lie over each other")


def _scans(data: bytes) -> int:
    """Scans up to the end of a JPEG, without those of its thumbnail or of what phones append (ITU-T T.81, annex B)."""
    scans, at = 0, 2
    while (marker := _MARKER.search(data, at)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def count_frames(image: ImageFile.ImageFile, data: bytes) -> int:
    """Number of pictures in the file. Pillow's own count decodes those of a GIF and compares all pages of a TIFF."""
    if image.format == "GIF":
        return _gif_frames(data)
    if image.format == "TIFF":
        return _tiff_pages(data)
    return int(getattr(image, "n_frames", 1))


def _gif_frames(data: bytes) -> int:
    """Image descriptors in the chain of blocks (GIF89a, sections 17 to 27), as far as it goes."""

    def table(flags: int) -> int:
        return 3 << (flags & 7) + 1 if flags & 128 else 0

    frames, at = 0, 13 + table(data[10])
    try:
        while data[at] in b"!,":
            if data[at] == ord(","):
                frames += 1
                at += 11 + table(data[at + 9])
            else:
                at += 2
            while data[at]:
                at += 1 + data[at]
            at += 1
    except IndexError:
        pass
    return frames


def _tiff_pages(data: bytes) -> int:
    """Image file directories in the chain (TIFF 6.0, section 2; BigTIFF), each once."""
    order, big = "<" if data[:2] == b"II" else ">", 43 in data[2:4]
    count, pointer, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        while at and at not in seen:
            (entries,) = struct.unpack_from(order + count, data, at)
            (following,) = struct.unpack_from(
                order + pointer, data, at + struct.calcsize(order + count) + entry * entries
            )
            seen.add(at)
            at = following
    except (struct.error, OverflowError, IndexError):
        pass
    return len(seen)


# Why a file is rejected


def reason_of(data: bytes, error: Exception) -> str:
    """What is wrong with a file on which Pillow raised that: truncated, not an image, a broken header or body."""
    text, kind = one_line(str(error), 80), _kind(data)
    if "truncated" in text.lower() or "not enough image data" in text or _ends_early(kind, data):
        return "truncated"
    if isinstance(error, UnidentifiedImageError):
        return f"broken {kind} header" if kind not in ("", "PPM") else "not an image"
    return f"broken {kind or 'image'}: {text or type(error).__name__}"


def _kind(data: bytes) -> str:
    """The format that the first bytes claim, "" if none that is read."""
    return next((kind for kind in FORMATS if (accept := Image.OPEN[kind][1]) and accept(data[:16]) is True), "")


def _ends_early(kind: str, data: bytes) -> bool:
    """Whether a file that cannot be read lacks its end."""
    match kind:
        case "JPEG":
            return b"\xff\xd9" not in data[-64:]
        case "PNG":
            return b"IEND" not in data[-64:]
        case "GIF":
            return not data.rstrip(b"\0").endswith(b";")
        case "WEBP":
            return int.from_bytes(data[4:8], "little") + 8 > len(data)
        case "BMP":
            return int.from_bytes(data[2:6], "little") > len(data)
        case "TIFF":
            return _tiff_ends_early(data)
    return False


def _tiff_ends_early(data: bytes) -> bool:
    if not _tiff_pages(data):
        return True
    with suppress(Exception):
        tags = cast(TiffImageFile, Image.open(io.BytesIO(data), formats=("TIFF",))).tag_v2
        places, lengths = (273, 279) if 273 in tags else (324, 325)
        return any(place + length > len(data) for place, length in zip(tags[places], tags[lengths], strict=True))
    return False


def claimed_size(data: bytes, error: Exception) -> str:
    """The size a bomb claims, "width × height" where it can be had without unpacking, else the number of pixels."""
    with suppress(Exception):
        width, height = Image.OPEN[_kind(data)][0](io.BytesIO(data), "").size
        return f"{width} × {height}"
    return next(iter(re.findall(r"\d+", str(error))), "many")


def one_line(text: str, most: int) -> str:
    """Foreign text without line breaks, control characters and the addresses of objects."""
    text = re.sub(r"<[^<>]* at 0x[0-9a-fA-F]+>|0x[0-9a-fA-F]{8,}", "…", text[:1000])
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
