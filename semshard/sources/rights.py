"""Who made a picture and on what terms: found in XMP, IPTC-IIM, EXIF and PNG text, and the data-mining statement.

IPTC Photo Metadata Standard 2023.1, which adopted PLUS's property of data mining and its vocabulary; IPTC-IIM 4. Names
of properties are compared, not what their values say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import ExifTags, Image, IptcImagePlugin

from ..settings import RESERVATIONS, VOCABULARY
from .xmp import (
    CREATIVE_COMMONS,
    DC,
    IPTC_EXTENSION,
    PHOTOSHOP,
    PLUS,
    RDF,
    RIGHTS,
    TDM,
    Name,
    Property,
    clean,
    listed,
    plain,
)

CREATOR, NOTICE, CREDIT, MINING = (DC, "creator"), (DC, "rights"), (PHOTOSHOP, "Credit"), (PLUS, "DataMining")
MOST_CREATORS = 1000  # of a picture, so that a hostile file cannot fill the memory with names
_LICENCE = "licence"

# Properties that state rights, and what a note calls them.
_STATED: dict[Name, str] = {
    CREATOR: "creator",
    NOTICE: "copyright notice",
    CREDIT: "credit",
    **dict.fromkeys([MINING, (TDM, "reservation"), (TDM, "policy")], "data-mining statement"),
    **dict.fromkeys(
        [(RIGHTS, name) for name in ("Marked", "Owner", "UsageTerms", "WebStatement")]
        + [(CREATIVE_COMMONS, name) for name in ("license", "attributionName", "attributionURL", "morePermissions")]
        + [(PLUS, name) for name in ("CopyrightOwner", "ImageCreator", "Licensor", "OtherConstraints")]
        + [(IPTC_EXTENSION, name) for name in ("EmbdEncRightsExpr", "LinkedEncRightsExpr")],
        _LICENCE,
    ),
}

# From the least strict to the strictest. What refers to a constraint cannot be compared with the others.
_STRICTER = (
    "DMI-UNSPECIFIED", "DMI-ALLOWED", "DMI-PROHIBITED-GENAIMLTRAINING", "DMI-PROHIBITED-AIMLTRAINING",
    "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING", "DMI-PROHIBITED",
)  # fmt: skip
UNCLEAR = "DMI-PROHIBITED-SEECONSTRAINT"  # what a text means that begins with "prohibited"
_KEY = re.compile(r"(?:https?://ns\.useplus\.org/ldf/vocab/)?(DMI-[A-Z-]+)", re.IGNORECASE)
_LABELS = {  # as some programs write it, instead of the identifier
    "prohibited for generative ai/ml training": "DMI-PROHIBITED-GENAIMLTRAINING",
    "prohibited for ai/ml training": "DMI-PROHIBITED-AIMLTRAINING",
    "prohibited except for search engine indexing": "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
    "prohibited": "DMI-PROHIBITED",
}

_BY_LINE, _CREDIT, _NOTICE, _CHARACTERS = (2, 80), (2, 110), (2, 116), (1, 90)  # IIM
_PLACES = frozenset(("xmp", "photoshop", "exif", "Author", "Copyright"))  # in Pillow's `info`
_WINDOWS_AUTHOR = 40093  # UTF-16


def is_right(name: Name) -> bool:
    """Whether that property states rights."""
    return name in _STATED


def kinds(properties: Iterable[Property]) -> list[str]:
    """What those properties state, in words, each once."""
    found = {_STATED[one.name] for one in properties if one.name in _STATED}
    return [kind for kind in dict.fromkeys(_STATED.values()) if kind in found]


def says_nothing(image: Image.Image) -> bool:
    """Whether a picture has no place where rights are looked for: most have none, and are not to cost anything."""
    if hasattr(image, "tag_v2") or not _PLACES.isdisjoint(image.info):
        return False
    try:
        return not len(image.getexif())
    except Exception:  # damaged
        return False


def rights_of(image: Image.Image, packet: Iterable[Property]) -> list[Property]:
    """The properties of rights of a picture: those of its XMP `packet`, filled up from IPTC-IIM, EXIF and PNG text."""
    stated = {one.name: one for one in packet if is_right(one.name)}
    for each in (_from_iptc(image), _from_exif(image), _from_text(image)):
        for one in each:
            stated.setdefault(one.name, one)
    return list(stated.values())


def _stating(creators: Sequence[str], notice: str, credit: str = "") -> list[Property]:
    creators = [name for name in map(clean, creators[:MOST_CREATORS]) if name]
    found = [listed(CREATOR, "Seq", creators)] if creators else []
    found += [listed(NOTICE, "Alt", [notice])] if clean(notice) else []
    return found + ([plain(CREDIT, credit)] if clean(credit) else [])


def _from_iptc(image: Image.Image) -> list[Property]:
    if "photoshop" not in image.info and not hasattr(image, "tag_v2"):
        return []
    try:
        fields: dict[tuple[int, int], Any] = dict(IptcImagePlugin.getiptcinfo(image) or {})  # type: ignore[arg-type]
    except Exception:  # it raises nearly anything on damaged bytes
        return []
    utf8 = fields.get(_CHARACTERS) == b"\x1b%G"

    def texts(which: tuple[int, int]) -> list[str]:
        value = fields.get(which)
        values = value if isinstance(value, list) else [value]
        return [_decoded(each, utf8) for each in values if isinstance(each, bytes)]

    return _stating(texts(_BY_LINE), "; ".join(texts(_NOTICE)), "; ".join(texts(_CREDIT)))


def _from_exif(image: Image.Image) -> list[Property]:
    try:
        exif = image.getexif()
        if not {ExifTags.Base.Artist, ExifTags.Base.Copyright, _WINDOWS_AUTHOR}.intersection(exif):
            return []
        artist, notice = _text(exif.get(ExifTags.Base.Artist)), _text(exif.get(ExifTags.Base.Copyright))
        if not artist:
            author = exif.get(_WINDOWS_AUTHOR)
            artist = bytes(author).decode("utf-16-le", "replace") if isinstance(author, bytes | tuple) else ""
    except Exception:
        return []
    parts = [part for part in map(str.strip, notice.split("\0")) if part]  # the photographer's, the editor's
    return _stating(artist.strip("\0").split(";", MOST_CREATORS - 1), "; ".join(parts))


def _from_text(image: Image.Image) -> list[Property]:
    """The keywords that the PNG specification names."""
    if image.format != "PNG":
        return []
    author, notice = (image.info.get(word) for word in ("Author", "Copyright"))
    return _stating([author] if isinstance(author, str) else [], notice if isinstance(notice, str) else "")


def _text(value: object) -> str:
    """A text of EXIF. Many programs write UTF-8, which Pillow reads as Latin-1."""
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")
    return _decoded(value, False) if isinstance(value, bytes) else ""


def _decoded(value: bytes, utf8: bool) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("utf-8" if utf8 else "latin-1", "replace")


# --- data mining ---------------------------------------------------------------------------------------------------


def mining_of(properties: Iterable[Property]) -> str:
    """The key of the data-mining statement, like DMI-PROHIBITED; empty where there is none that PLUS knows."""
    for one in properties:
        if one.name == MINING:
            text = (one.text or dict(one.attributes).get((RDF, "resource"), "")).strip()
            match = _KEY.fullmatch(text)
            prohibits = text.lower().startswith("prohibited")
            return match[1].upper() if match else _LABELS.get(text.lower(), UNCLEAR if prohibits else "")
    return ""


def stricter(stated: str, reserve: str) -> str:
    """The key that prohibits at least what `stated` does and what `reserve`, a value of the setting, asks for.

    A statement that refers to a constraint ("see …") may allow or prohibit anything, so only DMI-PROHIBITED covers it.
    """
    wanted = RESERVATIONS[reserve]
    if not wanted:
        return stated
    if stated and stated not in _STRICTER:
        return _STRICTER[-1]
    return max(stated or _STRICTER[0], wanted, key=_STRICTER.index)


def reserved(properties: Iterable[Property], stated: str, reserve: str) -> list[Property]:
    """The properties with the data-mining statement that follows from the one of the file and from `reserve`."""
    if reserve == "none":
        return list(properties)
    statement = plain(MINING, VOCABULARY + stricter(stated, reserve))
    return [one for one in properties if one.name != MINING] + [statement]


def at_least_as_strict(stated: str, reserve: str) -> bool:
    """Whether the key `stated` prohibits what `reserve` asks for."""
    return reserve == "none" or stricter(stated, reserve) == stated


def stated_keys() -> tuple[str, ...]:
    """The keys that can be compared, and the empty one of a picture that states nothing."""
    return ("", *_STRICTER)
