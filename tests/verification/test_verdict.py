"""Intervals, verdicts and the rules of early stopping, against plain forms of themselves."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semshard.inspection.similarity import linf, psnr, ssim
from semshard.verification.theory import theory
from semshard.verification.verdict import (
    has_collapsed,
    interval,
    retained_share,
    sentence,
    share_interval,
    still_rises,
    verdict_of,
)
from semshard.victims.stopping import ValidationPoint, stops


def test_the_interval_of_one_seed_is_wilsons():
    assert interval([0.5], 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert interval([0.0], 100) == pytest.approx((0.0, 0.0370), abs=1e-4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(10, 10_000))
def test_an_interval_holds_the_mean_and_seeds_that_differ_widen_it(accuracies, images):
    low, high = interval(accuracies, images)
    mean = sum(accuracies) / len(accuracies)
    assert 0 <= low <= mean + 1e-4
    assert mean - 1e-4 <= high <= 1
    same = interval([mean] * len(accuracies), images)
    assert low <= same[0] + 1e-4
    assert high >= same[1] - 1e-4


def test_two_seeds_are_widened_by_students_t():
    low, high = interval([0.4, 0.6], 10**9)
    assert (low, high) == (0.0, 1.0)  # t = 12.7 of one degree of freedom: nothing is known
    low, high = interval([0.49, 0.5, 0.51], 10**9)
    assert high - 0.5 == pytest.approx(4.303 * 0.01 / 3**0.5, abs=2e-4)


@pytest.mark.parametrize(
    ("protected", "verdict"),
    [(0.1, "protects"), (0.29, "protects"), (0.31, "weakens"), (0.49, "weakens"), (0.51, "does not protect")],
)
def test_the_verdict_follows_its_rule(protected, verdict):
    best = {"clean": 0.7, "protected": protected, "control": 0.69}
    share = retained_share(best, 0.1, 0.69, 0.1)
    assert verdict_of(share, (share, share)) == verdict
    said = sentence("small", 640, best, 0.1, verdict, False)
    assert f"at best {protected:.1%} on clean images within 640 steps" in said  # not after these, unless it still rises
    assert "still rises" in sentence("small", 640, best, 0.1, verdict, True)
    failed = sentence("small", 640, best, 0.1, verdict, False, {"clean": (0.9, 0.01)})
    assert "originals 90.0% and 1.0%" in failed
    assert "--steps-a" in failed
    assert "--steps-a" not in said


@pytest.mark.parametrize(
    ("under_own", "under_pgd", "collapsed"),
    [
        (0.79, 0.5, False),
        (0.79, 0.0, True),
        (0.8, 0.4, False),
        (0.8, 0.39, True),
        (0.19, 0.0, False),
        (0.21, 0.0, True),
    ],
)
def test_adversarial_training_has_failed_where_pgd_leaves_less_than_half_of_what_its_own_adversary_leaves(
    under_own, under_pgd, collapsed
):
    """Of a network that has learnt ten points more than chance."""
    assert has_collapsed(under_own, under_pgd, base=0.1) == collapsed


@pytest.mark.parametrize(
    ("between", "verdict"),
    [
        ((0.2, 0.33), "protects"),
        ((0.2, 0.34), "borderline"),
        ((0.34, 0.6), "weakens"),
        ((0.6, 0.7), "borderline"),
        ((0.67, 0.9), "does not protect"),
        ((0.1, 0.9), "borderline"),
    ],
)
def test_a_verdict_needs_the_whole_interval(between, verdict):
    for share in between:
        assert verdict_of(share, between) == verdict


@given(st.dictionaries(st.integers(0, 16), st.floats(0, 1)), st.integers(1, 16))
def test_theory_names_the_radius_of_the_noise_and_the_best_that_was_tried_beyond_it(reached, budget):
    text = theory(budget / 255, {levels / 255: best for levels, best in reached.items()})
    assert f"that of the noise, {budget}/255" in text
    assert "for these attackers, at these radii, on this collection" in text
    beyond = [best for levels, best in reached.items() if levels >= budget]
    assert ("It was tried" in text) == bool(beyond)
    if beyond:
        assert f"reaches at best {max(beyond):.1%} at" in text
    elif any(reached):
        assert f"the largest was {max(reached)}/255" in text


def correct(random, accuracy, seeds, images):
    """Which of so many images are classified correctly, with images that are hard for every seed."""
    hard = random.random(images)
    return hard + random.normal(0, 0.1, (seeds, images)) < accuracy


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_interval_of_a_share_holds_the_truth_nineteen_times_of_twenty(seeds):
    """Victims whose accuracies are known on average; 150 collections, so 135 hits are two deviations below 142.5."""
    random, hits = np.random.default_rng(seeds), 0
    big = [correct(np.random.default_rng(9), accuracy, 200, 4000).mean() for accuracy in (0.7, 0.3)]
    truth = (big[1] - 0.1) / (big[0] - 0.1)
    for _ in range(150):
        low, high = share_interval(*(correct(random, accuracy, seeds, 200) for accuracy in (0.7, 0.3)), 0.1)
        hits += low <= truth <= high
    assert hits >= 135


def test_the_interval_of_a_share_compares_victims_on_the_same_images():
    random = np.random.default_rng(0)
    clean = random.random((1, 500)) < 0.7
    same = clean & (random.random((1, 500)) < 0.5)  # right only where the other is
    low, high = share_interval(clean, same, 0.0)
    apart = share_interval(clean, np.roll(same, 250), 0.0)
    assert low <= same.mean() / clean.mean() <= high
    assert high - low < apart[1] - apart[0]
    assert share_interval(clean, same, 0.0, same) == (0.0, 0.0), "the rest alone teaches as much"
    assert share_interval(clean, same, 1.0) == (10.0, 10.0), "the originals never teach more than the base"


def test_a_curve_still_rises_where_its_last_quarter_is_clearly_higher():
    rising, flat = [n / 100 for n in range(30, 50)], [0.5 + 0.01 * (-1) ** n for n in range(20)]
    assert still_rises([rising], 10_000)
    assert not still_rises([rising], 50), "the difference of so few images means nothing"
    assert not still_rises([flat], 10_000)
    assert not still_rises([rising[::-1]], 10_000)
    assert not still_rises([rising, rising[::-1]], 10_000), "on average"
    assert not still_rises([[0.1, 0.9]], 10_000), "too few points to tell"


def test_there_is_no_verdict_where_the_originals_teach_nothing_or_test_images_are_too_few():
    assert retained_share({"clean": 0.19, "protected": 0.1}, 0.1, 0.18, 0.1) is None, "less than ten points"
    assert retained_share({"clean": 0.45, "protected": 0.4}, 0.4, 0.44, 0.4) is None, "above the largest class"
    assert retained_share({"clean": 0.30, "protected": 0.1}, 0.1, 0.10, 0.1) is None, "ten test images"
    assert retained_share({"clean": 0.30, "protected": 0.1}, 0.1, 0.25, 0.1) == 0
    assert verdict_of(None, None) == "cannot tell"


def test_a_partly_protected_collection_is_measured_from_its_unprotected_part():
    best = {"clean": 0.6, "protected": 0.51, "control": 0.58, "rest": 0.5}
    assert retained_share(best, 0.5, 0.59, 0.51) == pytest.approx(0.1)
    assert "50.0% after their unprotected part alone" in sentence("small", 9, best, 0.5, "protects", False)
    assert retained_share(best | {"clean": 0.52}, 0.5, 0.515, 0.51) == pytest.approx(0.5), "two points may be enough"
    assert retained_share(best, 0.5, 0.58, 0.59) is None, "intervals overlap"


def validation_points(tests, published, clean, every=10):
    of = zip(tests, published, clean, strict=True)
    return [ValidationPoint(every * (n + 1), t, torch.tensor(p), torch.tensor(c)) for n, (t, p, c) in enumerate(of)]


def test_early_stopping_keeps_the_best_before_its_patience_ends():
    no, yes = [False, False], [True, True]
    half = [True, False]
    points = validation_points([0.1, 0.2, 0.3, 0.4], [half, no, no, yes], [no, no, no, no])
    kept = {(s.patience, s.clean_share): (s.step, s.test) for s in stops(points, (10, 20, 30), (0.0, 1.0))}
    assert kept[10, 0.0] == kept[20, 0.0] == (10, 0.1), "the last point came too late"
    assert kept[30, 0.0] == (40, 0.4), "it was better just in time"
    assert stops(points, (31,), (0.0,))[0].step == 40
    assert stops(points, (31,), (1.0,))[0].step == 10, "clean images see no difference"
    assert stops(points, (31,), (0.5,))[0].step == 40
    assert stops([], (10,), (0.0,)) == []


def test_early_stopping_validates_on_the_clean_share_of_its_images():
    point = ValidationPoint(1, 0.5, torch.tensor([False] * 10), torch.tensor([True] * 10))
    assert [point.validation(share) for share in (0, 0.3, 0.7, 1)] == [0, 0.3, 0.7, 1]


PICTURE = np.random.default_rng(3).integers(0, 256, (24, 30, 3), np.uint8)


def test_similarity_of_a_picture_to_itself_and_to_a_noisy_form():
    noisy = np.clip(PICTURE.astype(int) + np.random.default_rng(4).integers(-8, 9, PICTURE.shape), 0, 255)
    noisy = noisy.astype(np.uint8)
    assert (linf(PICTURE, PICTURE), psnr(PICTURE, PICTURE), ssim(PICTURE, PICTURE)) == (0, float("inf"), 1)
    assert linf(PICTURE, noisy) == 8
    error = ((PICTURE.astype(float) - noisy) ** 2).mean()
    assert psnr(PICTURE, noisy) == pytest.approx(20 * np.log10(255 / error**0.5))
    assert psnr(PICTURE, noisy) == pytest.approx(cv2.PSNR(PICTURE, noisy))
    assert 0.9 < ssim(PICTURE, noisy) < 1


def test_ssim_is_that_of_its_definition():
    """Wang et al. 2004, Eqs. 13 to 16, with windows mirrored at the border."""
    other = np.clip(PICTURE.astype(int) + np.random.default_rng(5).integers(-40, 41, PICTURE.shape), 0, 255)
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(bell, bell) / np.outer(bell, bell).sum()

    def mean(values):
        padded = np.pad(values, ((5, 5), (5, 5), (0, 0)), "reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (11, 11), axis=(0, 1))
        return (windows * weights).sum((-1, -2))

    x, y = PICTURE.astype(float), other.astype(float)
    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 2.55**2, 7.65**2
    whole = (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(PICTURE, other.astype(np.uint8)) == pytest.approx(whole.mean())
