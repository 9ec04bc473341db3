"""What `decode` makes of a file, in the forms that its tests compare."""

import numpy as np

from semshard.sources.decode import Decoding, decode


def pixels(data, **settings):
    return decode(data, Decoding(**settings)).pixels


def note(data, **settings):
    return decode(data, Decoding(**settings)).note


def largest_difference(decoded, expected):
    return int(np.abs(np.asarray(decoded).astype(int) - np.asarray(expected).astype(int)).max())


def grey(levels):
    return np.repeat(np.asarray(levels)[..., None], 3, -1)
