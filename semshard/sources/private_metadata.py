"""Places and serial numbers in EXIF and XMP, by the names of their fields, and pictures within XMP.

A place is where a picture was taken, or what it shows: GPS, and the location fields of IPTC and Photoshop (city, state,
country, sublocation, LocationCreated, LocationShown …); also the address of creator and licensor. Captions and keywords
may name places, too; nothing looks into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from PIL import ExifTags, Image

from .xmp import TIFF, Name, Property

PLACE, SERIAL, THUMBNAIL = "location", "serial numbers", "a thumbnail"

_GEO = "http://www.w3.org/2003/01/geo/wgs84_pos#"
_GOOGLE = "http://ns.google.com/photos/"  # depth maps and copies of the picture
_PLACE_NAME = re.compile(
    r"gps.*|.*(latitude|longitude|altitude).*|geo(tag|loc|code|name).*|(sub|intellectual)?location(created|shown|id|name)?"
    r"|city|state|country(code|name)?|provincestate|province|worldregion|address|ciadr.*"
    r"|licensor(city|country|region|postalcode|streetaddress|extendedaddress)",
    re.IGNORECASE,
)

# Tags of IFD 0 that describe the photograph. Others describe the original file, or may hold the clean picture.
_KEPT_TAGS = frozenset((270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853)) | frozenset(
    (18246, 18249, 40091, 40092, 40093, 40094, 40095)  # ratings and what Windows writes
)
# Of the Exif IFD: the standard's own range, without the maker's note, which may hold a preview, width and height, and
# the interoperability IFD.
_EXIF_TAGS = range(0x8200, 0xA700)
_DROPPED_EXIF_TAGS = frozenset((0x8769, 0x8825, 0x927C, 0xA002, 0xA003, 0xA005))
_SERIAL_TAGS = frozenset((0xA431, 0xA435))  # of body and lens


def kind_of(name: Name) -> str:
    """What of an XMP name is private: a place, a serial number, or a picture; empty where nothing is."""
    space, local = name
    if local == "Thumbnails" or space.startswith(_GOOGLE):
        return THUMBNAIL
    if "serial" in local.lower():
        return SERIAL
    return PLACE if space == _GEO or _PLACE_NAME.fullmatch(local) else ""


def without_private(properties: Iterable[Property], keep: bool, dropped: set[str]) -> list[Property]:
    """The properties without what is private, at any depth; with `keep`, only pictures go. `dropped` collects what.

    The orientation is set to upright, as the pixels are.
    """
    found = []
    for one in properties:
        kind = kind_of(one.name)
        if kind and not (keep and kind != THUMBNAIL):
            dropped.add(kind)
            continue
        attributes = []
        for name, value in one.attributes:
            kind = kind_of(name)
            if kind and not (keep and kind != THUMBNAIL):
                dropped.add(kind)
            else:
                attributes.append((name, "1" if name == (TIFF, "Orientation") else value))
        text = "1" if one.name == (TIFF, "Orientation") else one.text
        parts = without_private(one.parts, keep, dropped)
        found.append(replace(one, text=text, attributes=tuple(attributes), parts=tuple(parts)))
    return found


def exif_without_private(exif: Image.Exif, keep: bool, dropped: set[str]) -> bytes:
    """EXIF made anew of what describes the photograph; empty where nothing does.

    Without thumbnail, maker's note and size; orientation upright; with `keep`, places and serial numbers stay.
    """
    made = Image.Exif()
    details, place = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
    for tag in sorted(_KEPT_TAGS.intersection(exif)):
        if tag == details:
            held = exif.get_ifd(tag)
            allowed = {t: _as_read(held[t]) for t in sorted(held) if t in _EXIF_TAGS and t not in _DROPPED_EXIF_TAGS}
            if not keep and _SERIAL_TAGS & set(allowed):
                dropped.add(SERIAL)
                allowed = {t: value for t, value in allowed.items() if t not in _SERIAL_TAGS}
            if allowed:
                made[tag] = allowed
        elif tag == place and not keep:
            dropped.add(PLACE)
        elif tag == place:
            made[tag] = exif.get_ifd(tag)
        else:
            made[tag] = _as_read(exif[tag])
    if not len(made):
        return b""
    made[ExifTags.Base.Orientation] = 1
    return made.tobytes()


def _as_read(value: Any) -> Any:
    """A text as the bytes that were read: Pillow would write a question mark for every letter outside ASCII."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def describes(exif: Image.Exif) -> bool:
    """Whether EXIF describes the photograph by more than rights and resolution."""
    return bool((_KEPT_TAGS - {282, 283, 296, 315, 33432, 40093}).intersection(exif))


def private_in_exif(block: bytes) -> set[str]:
    """What of an EXIF block is private. Raises nearly anything on damaged bytes."""
    exif, found = Image.Exif(), set[str]()
    exif.load(block)
    details = exif.get_ifd(ExifTags.IFD.Exif)
    if ExifTags.IFD.GPSInfo in exif or ExifTags.IFD.GPSInfo in details:
        found.add(PLACE)
    return found | ({SERIAL} if _SERIAL_TAGS & {*exif, *details} else set())
