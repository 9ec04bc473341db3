"""Filters of 8-bit pictures: the same picture in, the same picture out."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
Filter = Callable[[Pixels], Pixels]

_WINDOW = 3  # pixels a side: the paper's Table 4
_MEAN, _SPREAD = 127.5, 64.0  # grey levels of every channel after `normalise`


def mean(picture: Pixels) -> Pixels:
    return _pixels(cv2.blur(picture, (_WINDOW, _WINDOW)))


def median(picture: Pixels) -> Pixels:
    return _pixels(cv2.medianBlur(picture, _WINDOW))


def gaussian(picture: Pixels) -> Pixels:
    """OpenCV's window of three: 1 2 1 in each direction."""
    return _pixels(cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), 0))


def grey(picture: Pixels) -> Pixels:
    """The luma of ITU-R BT.601 in all three channels."""
    return _pixels(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def jpeg(quality: int) -> Filter:
    """Baseline JPEG with libjpeg's tables of that quality and halved chroma (4:2:0), decoded again."""

    def compress(picture: Pixels) -> Pixels:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        return _pixels(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))

    return compress


def bits(depth: int) -> Filter:
    """Each channel in 2^depth levels, spread over 0..255."""
    highest = 2**depth - 1
    table = np.round(np.round(np.arange(256) / 255 * highest) / highest * 255).astype(np.uint8)
    return lambda picture: table[picture]


def resize(picture: Pixels) -> Pixels:
    """Down to half by area means, up again by bicubic interpolation."""
    height, width = picture.shape[:2]
    half = cv2.resize(picture, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    return _pixels(cv2.resize(half, (width, height), interpolation=cv2.INTER_CUBIC))


def normalise(picture: Pixels) -> Pixels:
    """Each channel moved and stretched to mean 127.5 and standard deviation 64, then clipped; a channel of one value
    becomes the mean.
    """
    planes = picture.astype(np.float64)
    middle, spread = planes.mean((0, 1)), planes.std((0, 1))
    scale = np.divide(_SPREAD, spread, out=np.zeros_like(spread), where=spread > 0)
    return _pixels(np.clip(np.rint((planes - middle) * scale + _MEAN), 0, 255))


def equalise(picture: Pixels) -> Pixels:
    """The histogram of each channel made flat by OpenCV; a channel of one value stays as it is."""
    planes = [cv2.equalizeHist(np.ascontiguousarray(picture[..., channel])) for channel in range(3)]
    return _pixels(np.stack(planes, -1))


def stack(*steps: Filter) -> Filter:
    """One filter after the other, from left to right."""

    def all_of_them(picture: Pixels) -> Pixels:
        for step in steps:
            picture = step(picture)
        return picture

    return all_of_them


def _pixels(picture: object) -> Pixels:
    return np.asarray(picture, np.uint8)
