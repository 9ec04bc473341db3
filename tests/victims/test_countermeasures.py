"""Countermeasures: filters do what they are named for, once; augmentations stay images and keep labels honest."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import semshard
from semshard.settings import COUNTERMEASURES
from semshard.verification.dataset import VictimDataset
from semshard.victims import BY_NAME, apply
from semshard.victims.countermeasures import augment
from semshard.victims.countermeasures.ueraser_max import trivial_augment

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
FILTERS = [each.name for each in BY_NAME.values() if each.filter]
AUGMENTS = [each.name for each in BY_NAME.values() if each.augment]


def filtered(name, picture=PICTURE):
    planes = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
    return apply(BY_NAME[name].filter, planes)[0].permute(1, 2, 0).numpy()


def neighbours(picture):
    """The 3 × 3 neighbours of every inner pixel, (H − 2, W − 2, 3, 9)."""
    windows = np.lib.stride_tricks.sliding_window_view(picture.astype(float), (3, 3), axis=(0, 1))
    return windows.reshape(*windows.shape[:3], 9)


def test_every_countermeasure_is_listed_with_a_line_and_a_source():
    listed = semshard.countermeasures()
    assert tuple(each.name for each in listed) == COUNTERMEASURES
    assert all(each.line for each in listed)
    assert all(each.paper and each.when and each.cost for each in listed[1:])
    assert len({BY_NAME[name].label for name in COUNTERMEASURES}) == len(COUNTERMEASURES)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_keeps_shape_and_dtype_and_is_not_random(name):
    once, again = filtered(name), filtered(name)
    assert once.shape == PICTURE.shape
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    assert not np.array_equal(once, PICTURE)
    flat = np.full_like(PICTURE, 85)  # a third of 255; JPEG 10 has a step of 10 grey levels for it
    middle = 127.5 if name == "normalise" else 85
    assert np.abs(filtered(name, flat).astype(float) - middle).max() <= (5 if "jpeg-10" in name else 1)


@pytest.mark.parametrize("name", FILTERS)
@given(side=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 9), is_grey=st.booleans())
def test_a_filter_takes_photographs_of_any_size_and_leaves_grey_ones_grey(name, side, seed, is_grey):
    picture = np.random.default_rng(seed).integers(0, 256, (*side, 1 if is_grey else 3), np.uint8)
    found = BY_NAME[name].filter(np.broadcast_to(picture, (*side, 3)).copy())
    assert (found.shape, found.dtype) == ((*side, 3), np.uint8)
    if is_grey:
        assert (np.ptp(found.astype(int), 2) <= (4 if "jpeg" in name else 0)).all()  # JPEG rounds its colours


def test_low_pass_filters_are_those_of_their_names():
    near = neighbours(PICTURE)
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(filtered("mean")[inner] - near.mean(-1)).max() <= 0.51
    assert np.array_equal(filtered("median")[inner], np.median(near, -1).astype(np.uint8))
    weights = np.outer([1, 2, 1], [1, 2, 1]).ravel() / 16
    assert np.abs(filtered("gaussian")[inner] - near @ weights).max() <= 1


def test_grey_is_luma_in_three_channels():
    grey = filtered("grey")
    assert np.abs(grey[..., 0] - PICTURE @ [0.299, 0.587, 0.114]).max() <= 0.51
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.array_equal(grey[..., 0], grey[..., 2])


@pytest.mark.parametrize("quality", [10, 50, 75])
def test_jpeg_is_what_another_libjpeg_makes_of_it(quality):
    smooth = np.asarray(Image.fromarray(PICTURE).resize((64, 48), Image.Resampling.BICUBIC))
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    theirs = np.asarray(Image.open(file)).astype(int)
    ours = filtered(f"jpeg-{quality}", smooth).astype(int)
    assert np.abs(ours - theirs).mean() < 1
    assert np.abs(ours - smooth).mean() > 1


@pytest.mark.parametrize("depth", [2, 4])
def test_bits_leave_so_many_levels_from_black_to_white(depth):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    found = filtered(f"bits-{depth}", levels)
    assert len(np.unique(found)) == 2**depth
    assert (found.min(), found.max()) == (0, 255)
    assert np.array_equal(filtered(f"bits-{depth}", found), found)
    assert np.abs(found.astype(int) - levels).max() <= 128 / (2**depth - 1) + 1


def test_resizing_drops_what_no_half_picture_holds():
    board = (np.indices((16, 16)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    assert np.abs(filtered("resize", board).astype(int) - 127).max() <= 1


def test_stacks_are_their_filters_one_after_the_other():
    assert np.array_equal(filtered("grey+jpeg-10"), filtered("jpeg-10", filtered("grey")))
    assert np.array_equal(filtered("jpeg-10+gaussian"), filtered("gaussian", filtered("jpeg-10")))


def brighter(picture, gain, offset):
    """A picture with another gain and offset for every channel, values 0 to 100 before."""
    return (picture // 3 + np.array(offset)) * np.array(gain)


@given(gain=st.tuples(*[st.integers(1, 2)] * 3), offset=st.tuples(*[st.integers(0, 40)] * 3), seed=st.integers(0, 9))
def test_normalising_and_equalising_forget_the_gain_and_the_offset_of_every_channel(gain, offset, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)
    plain, changed = (brighter(picture, *by).astype(np.uint8) for by in (((1, 1, 1), (0, 0, 0)), (gain, offset)))
    assert np.array_equal(filtered("equalise", plain), filtered("equalise", changed))
    same = filtered("normalise", plain).astype(int) - filtered("normalise", changed)
    assert np.abs(same).max() <= 1


def test_a_normalised_picture_has_one_mean_and_spread_and_stays_as_it_is():
    found = filtered("normalise", PICTURE // 4 + 90)
    assert found.mean((0, 1)) == pytest.approx([127.5] * 3, abs=0.5)
    assert found.std((0, 1)) == pytest.approx([64] * 3, abs=0.5)
    assert np.abs(filtered("normalise", found).astype(int) - found).max() <= 1


def test_an_equalised_picture_has_every_level_alike():
    found = filtered("equalise", PICTURE // 2 + 60)
    for channel in range(3):
        shares = np.quantile(found[..., channel], [0.25, 0.5, 0.75]) / 255
        assert shares == pytest.approx([0.25, 0.5, 0.75], abs=0.05)
    assert (found.min((0, 1)) == 0).all()
    assert (found.max((0, 1)) == 255).all()


def batch(n=16, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 3, side, side, generator=generator)
    return images, torch.eye(n), generator


def no_losses(images, shares):
    return torch.zeros(len(images))


@pytest.mark.parametrize("name", AUGMENTS)
@given(seed=st.integers(0, 100))
def test_an_augmentation_gives_images_and_shares_and_follows_its_generator(name, seed):
    images, shares, generator = batch(seed=seed)
    before = images.clone()
    state = generator.get_state()
    seen, labels = BY_NAME[name].augment(images, shares, generator, no_losses)
    assert torch.equal(images, before)
    assert seen.shape == images.shape
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert torch.isfinite(seen).all()
    assert torch.allclose(labels.sum(1), torch.ones(len(labels)))
    generator.set_state(state)
    again, _ = BY_NAME[name].augment(images, shares, generator, no_losses)
    assert torch.equal(seen, again)


def test_mixup_blends_pixels_and_labels_by_the_same_share():
    images, shares, generator = batch()
    seen, labels = augment.mixup(images, shares, generator, no_losses)
    assert torch.allclose(seen, torch.einsum("nm,mchw->nchw", labels, images), atol=1e-5)
    assert ((labels > 0).sum(1) == 2).any()
    assert len(labels[labels > 0].unique()) <= 3, "one share for the batch; 1 where an image meets itself"


@given(seed=st.integers(0, 50))
def test_cutmix_labels_are_shares_of_the_area(seed):
    images, shares, generator = batch(seed=seed)
    seen, labels = augment.cutmix(images, shares, generator, no_losses)
    own = (seen == images).all(1).float().mean((1, 2))
    assert torch.allclose(labels.diagonal(), own, atol=1e-5)


def test_cutout_covers_half_a_side_and_erasing_a_part_of_half_of_the_images():
    images, shares, generator = batch(400)
    shares = torch.ones(400, 1)
    cut, _ = augment.cutout(images, shares, generator, no_losses)
    covered = (cut == 0.5).all(1).float().mean((1, 2))
    assert covered.max() <= 0.25 + 1e-6
    assert covered.min() >= 0.25 / 4 - 0.05
    erased, _ = augment.erasing(images, shares, generator, no_losses)
    touched = (erased != images).any(1).float().mean((1, 2))
    assert 0.4 < (touched > 0).float().mean() < 0.6
    assert touched.max() < 0.4


def test_noise_is_uniform_within_its_radius():
    grey = torch.full((50, 3, 16, 16), 0.5)
    seen, _ = augment.noise(grey, torch.ones(50, 1), torch.Generator().manual_seed(0), no_losses)
    assert (seen - grey).abs().max() <= 8 / 255
    assert (seen - grey).std() == pytest.approx(8 / 255 / 3**0.5, rel=0.02)


def test_ueraser_keeps_the_draw_with_the_highest_loss():
    images, shares, generator = batch()
    draws = []

    def losses(drawn, _):
        draws.append(drawn)
        return drawn.mean((1, 2, 3))

    seen, _ = augment.ueraser(images, shares, generator, losses)
    assert len(draws) == 5
    assert torch.equal(seen.mean((1, 2, 3)), torch.stack([d.mean((1, 2, 3)) for d in draws]).amax(0))
    assert not torch.equal(seen, images)


def test_trivial_augment_changes_most_images_and_puts_the_global_random_state_back():
    images, _, generator = batch(80)
    before = torch.get_rng_state()
    seen = trivial_augment(images, generator)
    assert torch.equal(torch.get_rng_state(), before)
    assert (seen != (images * 255).round() / 255).flatten(1).any(1).float().mean() > 0.6


def dataset(count=200):
    random = np.random.default_rng(1)
    clean = random.integers(0, 200, (count, 8, 8, 3), np.uint8)
    train = np.arange(count) % 5 != 0
    keys = [f"{number:05}" for number in range(count)]
    return VictimDataset(keys, np.arange(count, dtype=np.int64) % 3, clean, clean + 8, train, ~train, 8, 0)


def shift(dataset, data):
    """How far each training image lies above its original: 8 where it is protected."""
    clean = {bytes(picture.transpose(2, 0, 1)): 0 for picture in dataset.clean}
    clean |= {bytes(picture.transpose(2, 0, 1)): 8 for picture in dataset.protected}
    return [clean[image.numpy().tobytes()] for image in data.train.images]


def test_a_partly_protected_collection_is_the_same_part_every_time_and_the_rest_is_clean():
    images = dataset()
    mixed = images.data("protected", fraction=0.4)
    assert 0.3 < np.mean(shift(images, mixed)) / 8 < 0.5
    rest = images.data("clean", fraction=0.4, rest=True)
    assert set(shift(images, rest)) == {0}
    assert len(rest.train.labels) == shift(images, mixed).count(0)
    more = images.data("protected", fraction=0.7)
    assert all(b >= a for a, b in zip(shift(images, mixed), shift(images, more), strict=True))
    assert set(shift(images, images.data("protected"))) == {8}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_may_leave_the_test_images_as_they_are(name):
    plain, both = dataset().data("protected"), dataset().data("protected", name)
    train = replace(dataset(), filter_on="train").data("protected", name)
    assert torch.equal(train.train.images, both.train.images)
    assert not torch.equal(train.train.images, plain.train.images)
    assert torch.equal(train.test.images, plain.test.images)
    assert torch.equal(both.test.images, apply(BY_NAME[name].filter, plain.test.images))
    assert train.digest != both.digest, "so that neither is taken for the other"


def test_early_stopping_holds_a_tenth_back_in_both_forms_and_tests_on_neither():
    images = dataset(1000)
    data = images.data("protected", "early-stop")
    published, clean = data.validation
    assert 40 < len(clean.labels) < 130
    assert len(clean.labels) + len(data.train.labels) == images.train.sum()
    assert torch.equal(published.images, clean.images + 8)
    held = {image.numpy().tobytes() for image in published.images}
    assert not held & {image.numpy().tobytes() for image in data.train.images}
    assert not {i.numpy().tobytes() for i in clean.images} & {i.numpy().tobytes() for i in data.test.images}


def test_a_filter_goes_over_training_and_test_images():
    images = dataset()
    data = images.data("protected", "bits-2")
    for part in (data.train, data.test):
        assert set(part.images.unique().tolist()) <= {0, 85, 170, 255}
