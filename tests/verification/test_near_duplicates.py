"""Images that show the same, against a plain form of the search."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semshard.sources.shapes import draw_shape
from semshard.verification import near_duplicates as module
from semshard.verification.near_duplicates import near_duplicates, thumbnail


def show_the_same(a, b):
    """The rule, for one pair."""
    steps = [np.diff(each.astype(int), axis=1) for each in (a, b)]
    ways = [np.sign(each) * (abs(each) >= 2) for each in steps]
    counts = [abs(each).sum() for each in ways]
    correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    return min(counts) >= 16 and (ways[0] * ways[1]).sum() >= 0.75 * max(counts) and correlation >= 0.97


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 60))
def test_groups_are_the_connected_parts_of_what_is_alike(seed, count, most):
    random = np.random.default_rng(seed)
    cells = random.integers(0, 256, (max(1, count // 4), 16, 17))
    cells = np.where(random.random(cells.shape) < random.choice([0.1, 1]), cells, 255)  # some are nearly flat
    cells = cells[random.integers(0, len(cells), count)]
    cells = cells + random.normal(0, random.choice([0, 10, 30, 60], (count, 1, 1)), cells.shape)
    cells = list(cells.clip(0, 255).astype(np.uint8))
    wanted = np.arange(count)
    pairs = [(a, b) for a in range(count) for b in range(a) if show_the_same(cells[a], cells[b])]
    for _ in range(count):  # the smallest number spreads until nothing changes
        for a, b in pairs:
            wanted[a] = wanted[b] = min(wanted[a], wanted[b])
    block, module._BLOCK = module._BLOCK, most
    try:
        assert near_duplicates(cells).tolist() == wanted.tolist()
    finally:
        module._BLOCK = block


def test_copies_are_found_and_other_pictures_are_not():
    pictures = [cv2.resize(draw_shape(number), (160, 120), interpolation=cv2.INTER_CUBIC) for number in range(60)]
    small = [cv2.resize(picture, (80, 60), interpolation=cv2.INTER_AREA) for picture in pictures]
    brighter = [np.clip(picture.astype(int) + 5, 0, 255).astype(np.uint8) for picture in pictures]
    own = list(range(60))
    assert near_duplicates([thumbnail(picture) for picture in pictures]).tolist() == own
    for copies in (small, brighter):
        assert near_duplicates([thumbnail(each) for each in (*pictures, *copies)]).tolist() == own + own


def disc(draw):
    at = tuple(draw.integers(12, 52, 2).tolist())
    return cv2.circle(np.full((64, 64, 3), 255, np.uint8), at, int(draw.integers(4, 20)), (0, 0, 0), -1)


def drawing(draw):
    ends = draw.integers(0, 64, (5, 2, 2)).tolist()
    return cv2.polylines(np.full((64, 64, 3), 255, np.uint8), np.array(ends, np.int32), False, (0, 0, 0), 2)


@pytest.mark.parametrize("drawn", [disc, drawing])
def test_a_white_background_makes_no_two_pictures_alike(drawn):
    draw = np.random.default_rng(0)
    first = near_duplicates([thumbnail(drawn(draw)) for _ in range(500)])
    assert np.bincount(first).max() < 10
    assert (first == np.arange(500)).mean() > 0.6


def test_blank_pages_are_not_held_out_together():
    blank = np.full((16, 17), 255, np.uint8)
    assert near_duplicates([blank, blank, blank]).tolist() == [0, 1, 2]
