"""Images that show the same, against a plain form of the search."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semshard.sources.shapes import draw_shape
from semshard.verification import near_duplicates as module
from semshard.verification.near_duplicates import SAME, difference_hash, near_duplicates


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 60))
def test_groups_are_the_connected_parts_of_what_is_alike(seed, count, most):
    random = np.random.default_rng(seed)
    hashes = random.random((max(1, count // 4), 256)) < 0.5
    hashes = hashes[random.integers(0, len(hashes), count)]
    hashes = hashes ^ (random.random(hashes.shape) < random.choice([0.0, 0.03, 0.1], (count, 1)))
    wanted = np.arange(count)
    for _ in range(count):  # the smallest number spreads until nothing changes
        for a in range(count):
            for b in range(count):
                if (hashes[a] != hashes[b]).sum() <= SAME:
                    wanted[a] = wanted[b] = min(wanted[a], wanted[b])
    block, module._BLOCK = module._BLOCK, most
    try:
        assert near_duplicates(list(hashes)).tolist() == wanted.tolist()
    finally:
        module._BLOCK = block


def test_copies_have_close_hashes_and_other_pictures_do_not():
    pictures = [cv2.resize(draw_shape(number), (160, 120), interpolation=cv2.INTER_CUBIC) for number in range(60)]
    hashes = [difference_hash(picture) for picture in pictures]
    for picture, own in zip(pictures, hashes, strict=True):
        small = cv2.resize(picture, (80, 60), interpolation=cv2.INTER_AREA)
        brighter = np.clip(picture.astype(int) + 5, 0, 255).astype(np.uint8)
        for copy in (small, brighter):
            assert (difference_hash(copy) != own).sum() <= SAME
    assert near_duplicates(hashes).tolist() == list(range(60))
