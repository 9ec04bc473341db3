"""What is kept of a file besides its pixels, where the owner asks for it: colour profile, EXIF, XMP, or rights alone.

Nothing is kept that shows the clean picture or describes the original file (thumbnail, maker's note, size), nothing
that would rotate the picture a second time, and no block that is too large for one of the published formats. XMP is
always written anew (`xmp`); rights of IPTC-IIM, EXIF and PNG text go into it. Notes name what is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from ..settings import RESERVATIONS
from .private_metadata import PLACE, SERIAL, THUMBNAIL, describes, exif_without_private, without_private
from .rights import is_right, kinds, mining_of, reserved, rights_of, says_nothing, stricter
from .xmp import Property, UnusableXmp, read_packet, write_packet


@dataclass(frozen=True)
class Metadata:
    """Each as its bytes in a file; empty where there is none."""

    icc: bytes = b""  # an ICC colour profile
    exif: bytes = b""  # a TIFF structure that starts with "Exif\0\0", its orientation set to upright
    xmp: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.icc or self.exif or self.xmp)


@dataclass(frozen=True)
class MetadataChoice:
    """What of a file's metadata is published; the settings of these names."""

    keep_metadata: str = "none"  # none | icc | rights | all
    with_location: bool = False  # with all: also places and serial numbers
    reserve: str = "none"  # none | ai-training | generative-ai | all

    @property
    def profile(self) -> bool:
        """Whether pixels stay in a profile for RGB."""
        return self.keep_metadata in ("icc", "all")

    @property
    def anything(self) -> bool:
        """Whether published files hold more than pixels."""
        return self.keep_metadata != "none" or self.reserve != "none"


MOST_BYTES = {"ICC profile": 1 << 20, "EXIF": 65_000, "XMP": 65_000}  # a PNG's profile, a segment of a JPEG
DROPPED = "rights not kept: "  # so a note begins that names what is lost of them


def metadata_of(image: Image.Image, icc: bytes, choice: MetadataChoice, notes: list[str]) -> Metadata:
    """`icc` is the profile that the pixels are still in. `notes` are given what is lost."""
    if says_nothing(image):
        return Metadata(icc, xmp=reservation(choice.reserve))
    packet = _packet(image, notes)
    rights = without_private(rights_of(image, packet), False, set())
    exif, kept, dropped = b"", list[Property](), set[str]()
    if choice.keep_metadata == "all":
        exif = _exif(image, choice.with_location, dropped, notes)
        kept = without_private(packet, choice.with_location, dropped)
        kept += _missing(kept, rights)
    elif choice.keep_metadata == "rights":
        kept = rights
        _exif(image, False, dropped, [])  # to know what is dropped
        without_private(packet, False, dropped)
        if not all(is_right(one.name) for one in packet) or _describes(image):
            notes.append("metadata besides rights dropped")
    if THUMBNAIL in dropped:
        notes.append("XMP thumbnail dropped")
    private = [kind for kind in (PLACE, SERIAL) if kind in dropped]
    if private:
        notes.append(f"{' and '.join(private)} dropped")
    xmp, published = _fitting(kept, rights, choice.reserve, notes)
    lost = kinds(_missing(published, rights))
    if lost:
        notes.append(DROPPED + ", ".join(lost))
    return Metadata(icc, exif, xmp)


def fits(what: str, block: bytes, notes: list[str]) -> bool:
    """Whether that block fits into every published format; a note says where it does not."""
    if len(block) <= MOST_BYTES[what]:
        return True
    notes.append(f"{what} of {len(block):,} bytes not kept: too large")
    return False


def count_dropped(notes: Iterable[str]) -> tuple[int, dict[str, int]]:
    """Of how many pictures rights are lost, by their notes; and how often each kind."""
    parts = [part.removeprefix(DROPPED) for note in notes for part in note.split("; ") if part.startswith(DROPPED)]
    return len(parts), dict(Counter(kind for part in parts for kind in part.split(", ")))


@lru_cache
def reservation(reserve: str, stated: str = "") -> bytes:
    """The XMP packet that holds nothing but the data-mining statement that follows from `reserve` and from the key
    that the file `stated`; empty where nothing is reserved.
    """
    return write_packet(reserved([], stated, reserve)) if reserve != "none" else b""


def _missing(present: Iterable[Property], rights: Iterable[Property]) -> list[Property]:
    names = {one.name for one in present}
    return [one for one in rights if one.name not in names]


# --- EXIF ----------------------------------------------------------------------------------------------------------


def _exif(image: Image.Image, with_location: bool, dropped: set[str], notes: list[str]) -> bytes:
    try:
        block = exif_without_private(image.getexif(), with_location, dropped)
    except Exception:  # Pillow raises nearly anything on damaged bytes
        if "unusable EXIF ignored" not in notes:
            notes.append("unusable EXIF ignored")
        return b""
    return block if fits("EXIF", block, notes) else b""


def _describes(image: Image.Image) -> bool:
    try:
        return describes(image.getexif())
    except Exception:
        return False


# --- XMP -----------------------------------------------------------------------------------------------------------


def _packet(image: Image.Image, notes: list[str]) -> list[Property]:
    xmp = image.info.get("xmp")
    if not isinstance(xmp, bytes):
        return []
    try:
        return read_packet(xmp)
    except UnusableXmp as why:
        too_large = str(why) == "too large"
        notes.append(f"XMP of {len(xmp):,} bytes not kept: too large" if too_large else "unusable XMP ignored")
        return []


def _fitting(
    kept: list[Property], rights: list[Property], reserve: str, notes: list[str]
) -> tuple[bytes, list[Property]]:
    """The packet of what is kept with the reservation, and its properties; where it is too large, of rights alone."""
    stated = mining_of(rights)
    if stated and stricter(stated, reserve) not in (stated, RESERVATIONS[reserve]):
        notes.append(f"data mining: {stated} and the reservation became {stricter(stated, reserve)}")
    for properties in [kept, rights][: 2 if kept != rights else 1] if kept else ():
        published = reserved(properties, stated, reserve)
        xmp = write_packet(published) if published else b""
        if fits("XMP", xmp, notes):
            return xmp, published
    return reservation(reserve, stated), reserved([], stated, reserve)
