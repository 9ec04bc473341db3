"""Pixels to the bytes of a picture file and back, by OpenCV, without metadata except what is passed in.

PNG and WebP are lossless. JPEG is not: the caller has to measure what it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError, ShardError
from ..sources.image_metadata import Metadata
from .containers import BLOCKS, MOST_PIXELS, Size, jpeg_size, jpeg_with, png_size, png_with, webp_size, webp_with

FORMATS = ("png", "jpeg", "webp")
EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}  # of a sample in a shard

_NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP"}
LONGEST = {"png": 1_000_000, "jpeg": 65_500, "webp": 16_383}  # pixels per side: libpng, libjpeg and the WebP format
_SIZES: dict[str, Callable[[bytes, str], Size]] = {"png": png_size, "jpeg": jpeg_size, "webp": webp_size}
_WITH: dict[str, Callable[[Metadata, bytes], bytes]] = {"png": png_with, "jpeg": jpeg_with, "webp": webp_with}


def encode_pictures(
    pixels: NDArray[np.uint8], format: str = "png", quality: int = 95, metadata: Sequence[Metadata] | None = None
) -> list[bytes]:
    """uint8 (N, H, W, 3) RGB as N picture files, equal bytes for equal pixels; `metadata[i]` goes into the i-th.

    `quality` (1 to 100) is JPEG's alone. Raises `ShardError` where a format cannot hold the size or the metadata.
    """
    _check_format(format)
    options = _options(format, quality)
    height, width = pixels.shape[1:3]
    if max(height, width) > LONGEST[format]:
        raise ShardError(
            f"the image is {width} × {height}, and {_NAMES[format]} holds at most {LONGEST[format]} pixels per side"
        )
    if not 0 < height * width <= MOST_PIXELS:
        raise ShardError(f"the image is {width} × {height}; 1 to {MOST_PIXELS} pixels can be published")
    if not len(pixels):
        return []
    turned = cv2.cvtColor(pixels.reshape(-1, width, 3), cv2.COLOR_RGB2BGR).reshape(pixels.shape)  # all in one call
    encoded = [_encode(picture, format, options) for picture in turned]
    if metadata is None:
        return encoded
    return [_WITH[format](extra, data) if extra else data for extra, data in zip(metadata, encoded, strict=True)]


def _options(format: str, quality: int) -> list[int]:
    if format == "webp":
        return [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 means lossless
    if format == "png":
        return []
    if not 1 <= quality <= 100:
        raise SettingError(f"a JPEG quality of {quality} is not possible; it goes from 1 to 100")
    # Tables made for the image make a JPEG a fifth smaller at this quality, for two milliseconds per half megapixel.
    full_chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1, *full_chroma]


def _encode(picture: NDArray[np.uint8], format: str, options: list[int]) -> bytes:
    """The file of a picture (H, W, 3) in OpenCV's order of channels, BGR."""
    done, data = cv2.imencode(f".{EXTENSIONS[format]}", picture, options)
    if not done:
        raise ShardError(f"OpenCV could not encode an image of shape {picture.shape} as {_NAMES[format]}")
    return bytes(data)


def decode_picture(data: bytes, format: str = "png", keep: str = "none") -> NDArray[np.uint8]:
    """The pixels of a file that `encode_pictures` wrote: uint8 (H, W, 3) RGB, not turned by any Exif orientation.

    Raises `ShardError` where `picture_problem` names a fault, or where the bytes do not decode.
    """
    size = _size(data, format, keep)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ShardError(f"the {_NAMES[format]} does not decode: {error}") from error
    if picture is None or picture.shape != (*size, 3):
        raise ShardError(f"the {_NAMES[format]} does not decode")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def picture_problem(data: bytes, format: str = "png", keep: str = "none") -> str:
    """Why these bytes are not a picture that we publish: broken structure, or more than pixels and what `keep` names.

    Empty if they are. Only the container is read, nothing is decoded, so no decompression bomb is unpacked.
    """
    try:
        _size(data, format, keep)
    except ShardError as error:
        return str(error)
    return ""


def _size(data: bytes, format: str, keep: str) -> Size:
    _check_format(format)
    if keep not in BLOCKS:
        raise SettingError(f"keep is {keep!r}; choose from {', '.join(BLOCKS)}")
    return _SIZES[format](data, keep)


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise SettingError(f"format is {format!r}; choose from {', '.join(FORMATS)}")


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, 3) RGB as an 8-bit RGB PNG."""
    return encode_pictures(pixels[None])[0]
