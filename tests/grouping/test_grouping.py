"""Groups of images without labels: repeatable, none too small, and of images that look alike."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score

from semshard.engine import Runtime, make_runtime
from semshard.errors import SettingError
from semshard.grouping import group_images
from semshard.grouping.groups import MANY, by_size, cluster, filled
from semshard.grouping.views import draw_view, recolour
from semshard.models import build
from tests.support.runs import real

CPU = Runtime(torch.device("cpu"), "float32")
FEW = 4  # steps


def stripes(count, side=32, seed=0):
    """Stripes of any two colours, width and phase, that lie (family 0) or stand (1): uint8 (N, 3, side, side)."""
    random = np.random.default_rng(seed)
    family = random.integers(0, 2, count)
    images = np.empty((count, 3, side, side), np.uint8)
    for image, stands in zip(images, family, strict=True):
        wave = np.sin(np.arange(side) * random.uniform(0.4, 1.2) + random.uniform(0, 6)) > 0
        one, other = random.integers(0, 256, (2, 3, 1, 1))
        image[:] = np.where(wave if stands else wave[:, None], one, other)
    return torch.from_numpy(images), family


def accuracy(truth, groups):
    """The share of images whose group is matched with their class, in the best matching."""
    table = np.zeros((groups.max() + 1, truth.max() + 1))
    np.add.at(table, (groups, truth), 1)
    return table[linear_sum_assignment(table, maximize=True)].sum() / len(truth)


def test_two_families_that_differ_in_shape_alone_are_told_apart():
    images, family = stripes(120)
    groups = group_images(CPU, images, 2, seed=1, steps=20)
    assert accuracy(family, groups.labels) > 0.97
    assert groups.labels.dtype == np.int64
    assert "learnt in 20 steps" in groups.features


@pytest.mark.parametrize("count", [12, 40])
def test_a_few_images_of_two_looks_are_told_apart(count):
    random = np.random.default_rng(0)
    images = random.integers(150, 256, (count, 3, 32, 32), np.uint8)
    images[::2] = np.linspace(0, 60, 32, dtype=np.uint8)[:, None] + random.integers(0, 60, (count // 2, 3, 1, 1))
    groups = group_images(CPU, torch.from_numpy(images), 2, seed=0, steps=20)
    assert accuracy(np.arange(count) % 2, groups.labels) == 1


def test_the_same_images_and_seed_give_the_same_groups_whatever_was_drawn_before():
    images, _ = stripes(60)
    torch.manual_seed(1)
    np.random.seed(1)
    first = group_images(CPU, images, 5, seed=3, steps=FEW).labels
    torch.manual_seed(2)
    np.random.seed(2)
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert np.array_equal(group_images(CPU, images, 5, seed=3, steps=FEW).labels, first)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]
    assert not np.array_equal(group_images(CPU, images, 5, seed=4, steps=FEW).labels, first)


@pytest.mark.parametrize(
    "images",
    [
        stripes(40, side=64)[0],
        stripes(20, side=8)[0],
        torch.full((21, 3, 32, 32), 7, dtype=torch.uint8),
        stripes(1)[0].repeat(30, 1, 1, 1),
        stripes(40)[0][:, :1].repeat(1, 3, 1, 1),
    ],
    ids=["larger than the network sees", "8 pixels", "flat", "all the same", "grey"],
)
def test_every_group_has_two_images_and_larger_groups_come_first(images):
    labels = group_images(CPU, images, 10, seed=0, steps=FEW).labels
    sizes = np.bincount(labels, minlength=10)
    assert sizes.sum() == len(images)
    assert sizes.min() >= 2
    assert (np.diff(sizes) <= 0).all()


@given(st.lists(st.integers(0, 5), min_size=12, max_size=40))
def test_groups_that_are_too_small_are_filled_by_those_that_can_spare(numbers):
    labels = np.array(numbers)
    points = np.random.default_rng(0).random((len(labels), 3), np.float32)
    full = filled(labels, points[:6], points)
    sizes, before = np.bincount(full, minlength=6), np.bincount(labels, minlength=6)
    assert sizes.min() >= 2
    assert (full != labels).sum() == np.maximum(2 - before, 0).sum(), "no more images move than must"


@given(st.lists(st.integers(0, 9), min_size=1))
def test_groups_are_numbered_by_size_and_then_by_their_first_image(numbers):
    labels = np.unique(numbers, return_inverse=True)[1]
    groups = by_size(labels)
    order = [(-(groups == k).sum(), np.flatnonzero(groups == k)[0]) for k in range(groups.max() + 1)]
    assert order == sorted(order)
    assert len(set(zip(labels.tolist(), groups.tolist(), strict=True))) == len(set(numbers)), "the groups are the same"


def test_many_images_are_clustered_in_batches():
    points = np.random.default_rng(0).normal(size=(MANY + 1, 2)).astype(np.float32)
    points[::2] += 20
    labels, centres = cluster(points, 2, seed=0)
    assert len(centres) == 2
    assert accuracy(np.arange(len(points)) % 2, labels) == 1


@pytest.mark.parametrize(
    ("count", "groups", "words"), [(10, 1, "too few; give at least 2"), (10, 0, "too few"), (9, 5, "are too few")]
)
def test_impossible_numbers_of_groups_are_errors(count, groups, words):
    with pytest.raises(SettingError, match=words):
        group_images(CPU, stripes(count)[0], groups, seed=0)


def test_progress_counts_images_up_to_the_last():
    events = []
    group_images(CPU, stripes(30)[0], 2, seed=0, steps=FEW, progress=events.append)
    assert {event.phase for event in events} == {"groups"}
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[-1].done == events[-1].total
    assert sum(event.done == event.total for event in events) == 1


def test_a_view_that_changes_no_colour_changes_nothing():
    images = torch.rand(4, 3, 8, 8)
    one, zero = torch.ones(4), torch.zeros(4)
    torch.testing.assert_close(recolour(images, one, one, one, zero), images)
    grey = recolour(images, one, one, zero, zero)
    torch.testing.assert_close(grey, images.mean(1, keepdim=True).expand_as(grey))
    third = recolour(images * 0.5 + 0.25, one, one, one, one * 2 * torch.pi / 3)
    torch.testing.assert_close(third, (images * 0.5 + 0.25).roll(1, 1), msg="a third of a turn: red is green")


def test_views_stay_within_the_range_of_pixels():
    seen = draw_view(torch.rand(64, 3, 20, 20), torch.Generator().manual_seed(0))
    assert seen.shape == (64, 3, 20, 20)
    assert seen.min() >= 0
    assert seen.max() <= 1


def test_without_weights_in_the_cache_it_is_said_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    sentences = []
    group_images(make_runtime("cpu", "float32", sentences.append), stripes(10)[0], 2, seed=0, steps=1)
    assert "not in torchvision's cache" in sentences[-1]


def test_weights_in_the_cache_are_used(tmp_path, monkeypatch):
    from torchvision.models import ResNet18_Weights

    path = tmp_path / "hub" / "checkpoints" / "resnet18.pth"
    path.parent.mkdir(parents=True)
    torch.save(build("resnet18", 1000, (224, 224), 0).net.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path.rename(path.with_name(f"resnet18-{digest}.pth"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", f"x/resnet18-{digest}.pth", raising=False)
    images, events = stripes(8)[0], []
    groups = group_images(CPU, images, 2, seed=0, progress=events.append)
    assert groups.features == "ResNet18_Weights.IMAGENET1K_V1 of torchvision's cache"
    assert np.array_equal(group_images(CPU, images, 2, seed=0).labels, groups.labels)
    assert (events[-1].done, events[-1].total) == (8, 8)


@pytest.mark.slow
def test_groups_of_cifar10_say_more_about_its_classes_than_colours_do(monkeypatch, tmp_path):
    """0.24 on 5,000 images; k-means on thumbnails or colours finds 0.10."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    files = sorted((real("cifar10") / "test").glob("*/*.jpg"))[::5]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]).transpose(0, 3, 1, 2)
    truth = np.unique([file.parent.name for file in files], return_inverse=True)[1]
    labels = group_images(make_runtime("cpu"), torch.from_numpy(pixels.copy()), 10, seed=0).labels
    assert normalized_mutual_info_score(truth, labels) > 0.18
    assert accuracy(truth, labels) > 0.28
