"""halve, a countermeasure: every second row is replaced by the one above it."""

from __future__ import annotations

import numpy as np

from semshard.extending import Countermeasure


def halve(picture):
    return np.repeat(picture[::2], 2, axis=0)[: len(picture)]


HALVE = Countermeasure("halve", "half the rows", "every second row replaced by the one above it", "nobody's", halve)
