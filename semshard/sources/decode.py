"""Bytes of an image file to 8-bit RGB pixels, by Pillow. Everything but the pixels is dropped unless it is asked for.

| in the file | rule |
|---|---|
| EXIF or XMP orientation | applied |
| ICC profile other than sRGB (RGB, grey, CMYK) | converted to sRGB, perceptual intent; an unusable one is ignored |
| greyscale, 1 bit, palette, YCbCr, Lab | converted; grey stays exactly grey |
| CMYK, YCCK | by its profile, else plainly; inverted in a JPEG with Adobe's marker, as Photoshop writes it |
| 16 bits per channel | the high 8; integers of 32 bits are clipped to 16 before |
| floating point | 0 to 1 where nothing is above 1, else 0 to 255; clipped |
| PNM with another maximum than 255 | scaled |
| transparency | composited on the background |
| several frames | the first |
| PNG's gamma, chromaticities and cICP | ignored |
| a profile, EXIF or XMP to be kept, too large to be published | dropped, and the profile converted; rights stay |
| creator, copyright, licence or data-mining statement that is not kept | a note |

No file is trusted: what Pillow raises on one becomes its reject, and work that does not grow with the file is bounded
(`untrusted`). The rules of colour are in `colour`, those of metadata in `image_metadata`.
"""

from __future__ import annotations

import io
import logging
import math
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageFile

from ..errors import RejectedImage, SettingError
from ..settings import KEEP, RESERVATIONS
from .colour import composited, profile_of, samples, split, to_rgb
from .image_metadata import Metadata, MetadataChoice, metadata_of
from .source import Box
from .untrusted import FORMATS, check_effort, claimed_size, count_frames, reason_of

warnings.filterwarnings("ignore", module=r"PIL\.")  # a bad file is rejected with a reason; a warning would say it twice
logging.getLogger("PIL").addHandler(logging.NullHandler())

MOST_PIXELS = 178_956_970  # Pillow's bound against decompression bombs
LEAST_SIDE = 8

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_retrying = threading.Lock()


@dataclass(frozen=True)
class Decoding:
    """How bytes become pixels. Raises `SettingError` for what cannot be.

    A bound above `MOST_PIXELS` raises Pillow's own for the whole process.
    """

    background: tuple[int, int, int] = (255, 255, 255)  # under transparency
    truncated: str = "reject"  # reject | accept
    max_pixels: int = MOST_PIXELS  # more are a decompression bomb
    too_large: str = "reject"  # reject | shrink to max_pixels, up to the larger of it and MOST_PIXELS
    keep_metadata: str = "none"  # none | icc | rights | all
    with_location: bool = False  # with all: also places and serial numbers
    reserve: str = "none"  # none | ai-training | generative-ai | all: the data-mining statement to be published

    def __post_init__(self) -> None:
        for name, choices in (("truncated", ("reject", "accept")), ("too_large", ("reject", "shrink"))):
            if getattr(self, name) not in choices:
                raise SettingError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(choices)}")
        if self.keep_metadata not in KEEP:
            raise SettingError(f"keep_metadata is {self.keep_metadata!r}; it is one of {', '.join(KEEP)}")
        if self.reserve not in RESERVATIONS:
            raise SettingError(f"reserve is {self.reserve!r}; it is one of {', '.join(RESERVATIONS)}")
        if self.max_pixels < LEAST_SIDE**2:
            raise SettingError(f"max_pixels is {self.max_pixels}; it is at least {LEAST_SIDE**2}")
        if len(self.background) != 3 or not all(0 <= level <= 255 for level in self.background):
            raise SettingError(f"background is {self.background}; it is red, green and blue from 0 to 255")

    @property
    def bound(self) -> int:
        """Pixels above which a file is refused unread."""
        return self.max_pixels if self.too_large == "reject" else max(self.max_pixels, MOST_PIXELS)

    @property
    def choice(self) -> MetadataChoice:
        """What of a file's metadata is published."""
        return MetadataChoice(self.keep_metadata, self.with_location, self.reserve)


DEFAULT = Decoding()


@dataclass(frozen=True)
class Decoded:
    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, upright, C-contiguous
    note: str  # what was done that the owner may not expect, joined by "; "
    metadata: Metadata  # what is to be published of it, with the reservation


def decode(data: bytes, decoding: Decoding = DEFAULT, box: Box | None = None) -> Decoded:
    """Pixels of a picture file, or of a box (left, top, right, bottom) in its upright picture, clipped to it.

    Raises `RejectedImage` with the reason, in one line, where the bytes are not a usable image.
    """
    if not data:
        raise RejectedImage("empty file")
    if data.startswith((b"P1", b"P2", b"P3")):
        data = re.sub(rb"#[^\r\n]*", b"", data)  # Pillow takes quadratic time for many comments
    try:
        return _decode(data, decoding, box)
    except (RejectedImage, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise RejectedImage(f"{claimed_size(data, error)} pixels, above the bound of {decoding.bound}") from None
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise RejectedImage(reason_of(data, error)) from None


def resize(pixels: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    """The short side resized to `resolution` (bilinear, antialiased), then the centre square cropped."""
    height, width = pixels.shape[:2]
    scale = resolution / min(height, width)
    width, height = max(resolution, round(width * scale)), max(resolution, round(height * scale))
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    return np.asarray(image.crop((left, top, left + resolution, top + resolution)))


def parse_colour(text: str) -> tuple[int, int, int]:
    """Red, green and blue of a name ("white"), "#rrggbb", or what else `PIL.ImageColor` knows and is opaque."""
    with suppress(ValueError):
        colour = ImageColor.getrgb(text)
        if len(colour) == 3 and all(0 <= level <= 255 for level in colour):
            return colour
    raise SettingError(f"{text!r} is not a colour; write a name like white, or #rrggbb")


# From bytes to an upright picture


class _Read(NamedTuple):
    image: ImageFile.ImageFile  # its pixels loaded, perhaps at a fraction of its size
    size: tuple[int, int]  # of the whole picture
    raw: str  # as `samples` has it
    notes: list[str]


def _decode(data: bytes, decoding: Decoding, box: Box | None) -> Decoded:
    read = _read_leniently(data, decoding, whole=box is None)
    image, notes, choice = read.image, read.notes, decoding.choice
    turn = _turn(image, notes)
    colour, alpha = split(image, read.raw, notes)
    profile, icc = profile_of(image, colour.mode, choice.profile, notes)
    picture = composited(to_rgb(colour, profile, notes), alpha, decoding.background, notes)
    metadata = metadata_of(image, icc, choice, notes)
    size = read.size
    if turn is not None:
        picture = picture.transpose(turn)
        size = size[::-1] if turn >= Image.Transpose.ROTATE_90 and turn != Image.Transpose.ROTATE_180 else size
    if box is not None:
        picture = _crop(picture, box)
        size = picture.size
    if math.prod(size) > decoding.max_pixels:
        picture = picture.resize(_fitting(size, decoding.max_pixels), Image.Resampling.LANCZOS)
        notes.append(f"resized from {size[0]} × {size[1]}")
    return Decoded(np.asarray(picture), "; ".join(notes), metadata)


def _read_leniently(data: bytes, decoding: Decoding, whole: bool) -> _Read:
    try:
        return _read(data, decoding, whole)
    except (RejectedImage, MemoryError):
        raise
    except Exception as error:
        if decoding.truncated == "reject" or reason_of(data, error) != "truncated":
            raise
    with _truncated_accepted():
        read = _read(data, decoding, whole)
    read.notes.append("truncated")
    return read


def _read(data: bytes, decoding: Decoding, whole: bool) -> _Read:
    if decoding.max_pixels > MOST_PIXELS and Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, decoding.max_pixels // 2 + 1)  # it allows twice that
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = size = image.size
    if width * height > decoding.bound:
        raise RejectedImage(f"{width} × {height} pixels, above the bound of {decoding.bound}")
    if min(size) < LEAST_SIDE:
        raise RejectedImage(f"{width} × {height} pixels, below {LEAST_SIDE} per side")
    check_effort(image, data)
    frames = count_frames(image, data)
    raw, most = samples(image)
    drafted = False
    if whole and width * height > decoding.max_pixels:
        drafted = image.draft(None, _fitting(size, decoding.max_pixels)) is not None
    image.load()
    size = size if drafted else image.size  # Pillow has turned a TIFF upright
    notes = [f"first of {frames} frames"] if frames > 1 else []
    notes += [f"levels up to {most}, scaled"] if most != 255 else []
    return _Read(image, size, raw, notes)


def _turn(image: Image.Image, notes: list[str]) -> Image.Transpose | None:
    """How to turn a picture upright. Pillow has done it for a TIFF."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        notes.append("unusable EXIF ignored")
        return None


def _crop(picture: Image.Image, box: Box) -> Image.Image:
    left, top, right, bottom = max(0, box[0]), max(0, box[1]), min(picture.width, box[2]), min(picture.height, box[3])
    if min(right - left, bottom - top) < LEAST_SIDE:
        size = f"{max(0, right - left)} × {max(0, bottom - top)}"
        raise RejectedImage(f"the box leaves {size} pixels, below {LEAST_SIDE} per side")
    return picture.crop((left, top, right, bottom))


def _fitting(size: tuple[int, int], most: int) -> tuple[int, int]:
    """The largest size of the same shape with at most so many pixels."""
    scale = math.sqrt(most / math.prod(size))
    width, height = int(size[0] * scale), int(size[1] * scale)
    if min(width, height) < LEAST_SIDE:
        raise RejectedImage(f"{size[0]} × {size[1]} pixels, below {LEAST_SIDE} per side when resized to {most}")
    return width, height


@contextmanager
def _truncated_accepted() -> Iterator[None]:
    """Pillow's switch is one for all threads, so it is on in this one only, and for one file at a time."""
    with _retrying:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = cast(bool, _TrueHere())
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


class _TrueHere:
    """True in the thread that made it, false in all others."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def __bool__(self) -> bool:
        return threading.get_ident() == self._thread


def decoding_of(pictures: Mapping[str, Any]) -> Decoding:
    """How pictures are decoded by these settings. Raises `SettingError` for what is not a colour."""
    names = ("truncated", "max_pixels", "too_large", "keep_metadata")
    later = {name: pictures[name] for name in ("with_location", "reserve") if name in pictures}  # not in old manifests
    return Decoding(parse_colour(pictures["background"]), **{name: pictures[name] for name in names}, **later)
