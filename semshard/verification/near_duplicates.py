"""Images that show the same: photo bursts, copies in another size or compression. A split must not separate them.

Two images show the same if their grey thumbnails do: if most steps from a cell to the one on its right go the same way
(a difference hash in which flat cells do not count, so that a white background makes no two pictures alike), and if the
thumbnails correlate. Measured on 200 photographs, of which a copy was made: all are found in half the size, at JPEG
quality 50 or moved by one hundredth of the width; 199 at quality 20, 195 made brighter by a fifth, 57 moved by three
hundredths. Of the 20,000 pairs of these photographs none counts as the same. Of the 50,000 training images of CIFAR-10
111 show what another does.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 16
CLEAR = 2  # grey levels of a step that counts
FEWEST = 16  # steps that count, below which a picture is like no other
SAME_STEPS = 0.75  # of the steps that count: those that go the same way, less those that go the other way
CORRELATION = 0.97
_BLOCK = 2048  # images that are compared with all others at once

Thumbnail = NDArray[np.uint8]


def thumbnail(pixels: NDArray[np.uint8]) -> Thumbnail:
    """uint8 (16, 17), grey, of an image (H, W, 3) RGB."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(small).astype(np.uint8)


def near_duplicates(thumbnails: Sequence[Thumbnail]) -> NDArray[np.int64]:
    """For each image the number of the first one that shows the same, through others if need be; often itself.

    Every image is compared with every other: 50,000 take about a minute of a core.
    """
    cells = np.array(thumbnails, np.float32).reshape(-1, SIDE, SIDE + 1)
    steps = np.diff(cells, axis=2).reshape(len(cells), -1)
    steps = np.where(np.abs(steps) >= CLEAR, np.sign(steps), np.float32(0))
    clear = np.abs(steps).sum(1)
    clear = np.where(clear < FEWEST, np.float32(np.inf), clear)
    flat = cells.reshape(len(cells), -1)
    flat = flat - flat.mean(1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.float32(1e-6))
    first = np.arange(len(cells))

    def root(number: int) -> int:
        while first[number] != number:
            number = int(first[number])
        return number

    for at in range(0, len(cells), _BLOCK):
        here, upto = slice(at, at + _BLOCK), at + len(steps[at : at + _BLOCK])
        needed = SAME_STEPS * np.maximum(clear[here, None], clear[:upto])
        alike = (steps[here] @ steps[:upto].T >= needed) & (flat[here] @ flat[:upto].T >= CORRELATION)
        for new, old in np.argwhere(np.tril(alike, at - 1)).tolist():
            a, b = sorted((root(at + new), root(old)))
            first[b] = a
    return np.array([root(number) for number in range(len(first))], np.int64)
