"""What is kept of a file besides its pixels, where the owner asks for it: the colour profile, EXIF and XMP.

Nothing is kept that shows the clean picture or describes the original file (thumbnail, maker's note, size), nothing
that would rotate the picture a second time, and no block that is too large for one of the published formats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import ExifTags, Image


@dataclass(frozen=True)
class Metadata:
    """Each as its bytes in a file; empty where there is none."""

    icc: bytes = b""  # an ICC colour profile
    exif: bytes = b""  # a TIFF structure that starts with "Exif\0\0", its orientation set to upright
    xmp: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.icc or self.exif or self.xmp)


MOST_BYTES = {"ICC profile": 1 << 20, "EXIF": 65_000, "XMP": 65_000}  # a PNG's profile, a segment of a JPEG

# Tags of IFD 0 that describe the photograph. Others describe the original file, or may hold the clean picture.
_KEPT_TAGS = frozenset((270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853)) | frozenset(
    (18246, 18249, 40091, 40092, 40093, 40094, 40095)  # ratings and what Windows writes
)
_DROPPED_EXIF_TAGS = (0x927C, 0xA002, 0xA003)  # the maker's note, which may hold a preview; width and height


def metadata_of(image: Image.Image, icc: bytes, keep: str, notes: list[str]) -> Metadata:
    """`icc` is the profile that the pixels are still in; EXIF and XMP are kept if `keep` is "all"."""
    if keep == "all":
        return Metadata(icc, _exif(image, notes), _xmp(image, notes))
    return Metadata(icc)


def fits(what: str, block: bytes, notes: list[str]) -> bool:
    """Whether that block fits into every published format; a note says where it does not."""
    if len(block) <= MOST_BYTES[what]:
        return True
    notes.append(f"{what} of {len(block):,} bytes not kept: too large")
    return False


def _exif(image: Image.Image, notes: list[str]) -> bytes:
    """EXIF without what describes the original file: thumbnail, maker's note, size; orientation upright."""
    try:
        exif = image.getexif()
        for tag in [tag for tag in exif if tag not in _KEPT_TAGS]:
            del exif[tag]
        if not len(exif):
            return b""
        details = exif.get_ifd(ExifTags.IFD.Exif)
        for tag in _DROPPED_EXIF_TAGS:
            details.pop(tag, None)
        exif[ExifTags.Base.Orientation] = 1
        block = exif.tobytes()
    except Exception:
        if "unusable EXIF ignored" not in notes:
            notes.append("unusable EXIF ignored")
        return b""
    return block if fits("EXIF", block, notes) else b""


def _xmp(image: Image.Image, notes: list[str]) -> bytes:
    xmp = image.info.get("xmp")
    if not isinstance(xmp, bytes):
        return b""
    if b"Thumbnails" in xmp.replace(b"\0", b""):  # small, but of the clean picture
        notes.append("XMP with a thumbnail dropped")
        return b""
    return re.sub(rb'(tiff:Orientation(?:="|>))[0-9]', rb"\g<1>1", xmp) if fits("XMP", xmp, notes) else b""
