"""What simple filters leave of the noise: computed from pixels, without training."""

import numpy as np
import pytest

import semshard
from semshard.inspection.remainder import FILTERS, MOST, WINDOW, Remainder, radius_of, sentence, share_left

GREY = np.full((32, 32, 3), 128, np.uint8)


def noisy(noise):
    return np.clip(GREY + np.asarray(noise, np.int16), 0, 255).astype(np.uint8)


def left(protected, levels=4):
    return {name: share_left(filter, GREY, protected, levels) for name, filter in FILTERS.items()}


def test_what_is_the_same_everywhere_is_left_by_every_filter():
    assert left(noisy(8)) == dict.fromkeys(FILTERS, 1.0)


def test_colour_without_brightness_is_lost_in_greyscale_only():
    weights = np.array([0.299, 0.587, 0.114])
    colour = np.array([8.0, -4.1, 0.2])
    assert abs(weights @ colour) < 0.1
    found = left(noisy(np.rint(colour)))
    assert (found["none"], found["grey"], found["mean"]) == (1, 0, 1)


def test_a_chessboard_is_lost_in_means():
    board = np.indices((32, 32)).sum(0) % 2 * 16 - 8
    found = left(noisy(board[..., None]))
    assert found["none"] == found["grey"] == 1
    assert found["mean"] < 0.2
    assert found["resize"] < 0.2


def test_a_change_counts_where_it_exceeds_the_radius():
    assert left(noisy(4), levels=4)["none"] == 0
    assert left(noisy(5), levels=4)["none"] == 1


def test_the_radius_is_the_adversarys_or_half_the_budget():
    assert radius_of({"rho_u": "8/255", "rho_a": "2/255"}) == 2 / 255
    assert radius_of({"rho_u": "8/255"}) == 4 / 255


def test_many_samples_are_measured_evenly_and_photographs_in_their_middle():
    remainder = Remainder({"rho_u": "8/255"}, 10 * MOST)
    for number in range(30):
        remainder.add(GREY, noisy(8 if number % 10 == 0 else 0), number)
    assert remainder.to_json()["samples"] == 3
    assert remainder.to_json()["share"]["none"] == 1
    photo = np.full((3 * WINDOW, 4 * WINDOW, 3), 128, np.uint8)
    changed = photo.copy()
    changed[:WINDOW] = 140
    assert share_left(FILTERS["none"], photo, changed, 4) == 0


def test_audit_tells_it_and_nothing_without_originals(finished, tmp_path):
    measured = semshard.audit(finished / "shards").remainder
    assert (measured["radius"], measured["samples"], list(measured["share"])) == (2, 40, list(FILTERS))
    assert measured == semshard.audit(finished / "shards").remainder
    assert measured["share"]["none"] > measured["share"]["mean"]
    assert "more than 2 grey levels" in sentence(measured)
    (finished / "shards.ledger").rename(tmp_path / "away")
    assert semshard.audit(finished / "shards").remainder is None


@pytest.mark.parametrize("name", FILTERS)
def test_nothing_is_left_of_nothing(name):
    assert share_left(FILTERS[name], GREY, GREY, 0) == 0
