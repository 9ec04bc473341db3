"""Photographs at their own resolution: what views see of them, what the noise does to them, and that all is covered."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from semshard.engine import make_runtime
from semshard.noise import new_surrogate
from semshard.noise.photos import BAND_PIXELS, PhotoNoise, add_cells, cell_side, draw_factor, means
from semshard.noise.scratch import Scratch
from semshard.noise.views import CropFlip, ResizedCrop, Whole, after_crop, before_crop, make_view
from semshard.noise.views.balanced_crops import even_boxes
from semshard.noise.views.resized_crop import box_resampling, resample
from semshard.settings import protect_config
from semshard.sources import squash

RUNTIME = make_runtime("cpu", "float32")
CPU = torch.device("cpu")
LUMA = (0.299, 0.587, 0.114)
SIZES = [(60, 80), (45, 45), (30, 200), (130, 70), (45, 45), (200, 150)]


def config(**given):
    given = {"crop": 24, "steps_u": 3, "final_steps": 3, "final_draws": 2, "rho_a": "2/255"} | given
    return protect_config("quick", None, "float32", given)


def photos(sizes=SIZES, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def noise_of(**given):
    of = config(**given)
    return PhotoNoise(RUNTIME, RUNTIME.folded(new_surrogate(of, 4, None, RUNTIME)), of.final())


LABELS = torch.arange(len(SIZES)) % 4
CELLS = [cell_side(*size, 24) for size in SIZES]


@pytest.mark.parametrize("given", [{}, {"rho_u": "4/255"}, {"method": "rem"}, {"method": "em-aligned"}], ids=str)
def test_every_photograph_keeps_its_size_and_stays_within_the_budget(given):
    budget = 4 if "rho_u" in given else 8
    for clean, protected in zip(photos(), noise_of(**given)(photos(), LABELS, "x"), strict=True):
        assert protected.shape == clean.shape
        assert protected.dtype == np.uint8
        assert np.abs(protected.astype(int) - clean).max() == budget


def test_the_noise_depends_on_place_and_seed_alone():
    first, again = (noise_of()(photos(), LABELS, "x", 3) for _ in range(2))
    elsewhere, seeded = noise_of()(photos(), LABELS, "x", 4), noise_of(seed=1)(photos(), LABELS, "x", 3)
    assert all(map(np.array_equal, first, again))
    assert not any(map(np.array_equal, first, elsewhere))
    assert not any(map(np.array_equal, first, seeded))


def test_photographs_that_do_not_fit_together_are_crafted_in_parts():
    noise = replace(noise_of(), part_cells=5000)
    assert len(list(noise._parts(photos()))) > 3
    assert [number for part in noise._parts(photos()) for number in part] == list(range(len(SIZES)))
    for clean, protected in zip(photos(), noise(photos(), LABELS, "x"), strict=True):
        assert np.abs(protected.astype(int) - clean).max() == 8


def test_the_noise_lowers_the_loss_that_the_network_has_on_random_views():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = torch.nn.Conv2d(3, 8, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 20 * 20, 4)
    noise = replace(noise_of(final_steps=8), network=RUNTIME.folded(torch.nn.Sequential(*layers)))
    clean = [np.clip(photo // 2 + 64, 0, 255).astype(np.uint8) for photo in photos([(90, 120)] * 8)]
    labels = torch.arange(8) % 4
    random = np.random.default_rng(3)
    noisy = [photo + random.integers(-8, 9, photo.shape).astype(np.int8) for photo in map(np.int16, clean)]
    losses = []
    for pictures in (clean, noisy, noise(clean, labels, "x")):
        stack = torch.from_numpy(np.stack(pictures).astype(np.float32)).permute(0, 3, 1, 2) / 255
        view, generator = ResizedCrop(24), torch.Generator().manual_seed(5)
        total = 0.0
        with torch.no_grad():
            for _ in range(20):
                seen = view.apply(stack, view.draw(stack, generator))
                total += float(F.cross_entropy(noise.network(seen), labels)) / 20
        losses.append(total)
    assert losses[0] - losses[2] > 20 * abs(losses[0] - losses[1]), "as large a noise without a meaning does nothing"


def gradients(noise, groups, step):
    """Of each group, copied: the next one is written to the same memory."""
    scratch = Scratch(torch.device("cpu"))
    found = {
        id(group): gradient.clone() for group, gradient in noise._gradients(groups, step, scratch, torch.Generator())
    }
    return [found[id(group)] for group in groups]


@pytest.mark.parametrize("together", [1000, 1])
def test_the_gradient_at_the_cells_is_that_of_autograd(together):
    """Through torch's own antialiased resize, for photographs of several sizes, in one network batch or in several."""
    noise = noise_of(method="cell", noise_step="none", model_step="pgd")
    noise = replace(noise, runtime=replace(RUNTIME, draws_together=together))
    groups = noise._arrange(photos(), CELLS, LABELS, "x")
    for group, gradient in zip(groups, gradients(noise, groups, 1), strict=True):
        pixels = (group.pixels.float() * group.steps.unit + 0.5).requires_grad_()
        loss = torch.zeros(())
        for place, number in enumerate(group.numbers):
            for box in group.boxes[place, 1].long().tolist():
                top, left, height, width, flip = box
                crop = pixels[place].transpose(0, 1)[None, :, top : top + height, left : left + width]
                seen = F.interpolate(crop, (24, 24), mode="bilinear", antialias=True)
                loss = loss + F.cross_entropy(noise.network(seen.flip(3) if flip else seen), LABELS[number, None])
        (expected,) = torch.autograd.grad(loss, pixels)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)
        agree = (gradient.sign() == expected.sign()).float().mean()
        assert agree > 0.999


@pytest.mark.parametrize("views", ["blur=1", "resize=1", "jpeg=1", "bits=1", "grey=1,blur=1", "blur=0.5"])
def test_photographs_are_filtered_at_their_own_resolution_and_cropped_then(views):
    """As a victim does it: the values that are cropped, and the gradient at the photographs, are those of the filters
    of `Families` on whole photographs; greyscale, which commutes with a crop, comes after it.
    """
    noise = noise_of(method="cell", noise_step="none", model_step="pgd", views=views)
    groups = noise._arrange(photos(SIZES[:3]), CELLS[:3], LABELS[:3], "x")
    assert CELLS[:3] == [1, 1, 1]
    stream, again = (torch.Generator().manual_seed(5) for _ in range(2))
    found = {id(group): gradient.clone() for group, gradient in noise._gradients(groups, 1, Scratch(CPU), stream)}
    filters, at_crops = before_crop(noise.config.noise_families), after_crop(noise.config.noise_families)
    for group in groups:  # the streams agree, for nothing else draws where probabilities are 1
        pixels = group.pixels.float().mul(group.steps.unit).add(0.5).transpose(1, 2).contiguous()
        params = filters.draw(pixels, again)
        seen = filters.apply(pixels, params).detach().requires_grad_()
        torch.testing.assert_close(group._kept.transpose(1, 2) + 0.5, seen, rtol=0, atol=2e-5)
        loss = torch.zeros(())
        for place, number in enumerate(group.numbers):
            for box in group.boxes[place, 1].long().tolist():
                top, left, height, width, flip = box
                crop = seen[place : place + 1, :, top : top + height, left : left + width]
                crop = F.interpolate(crop, (24, 24), mode="bilinear", antialias=True)
                crop = crop.flip(3) if flip else crop
                if at_crops.members:
                    crop = (crop * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True).expand_as(crop)
                loss = loss + F.cross_entropy(noise.network(crop), LABELS[number, None])
        (at_seen,) = torch.autograd.grad(loss, seen)
        expected = filters.adjoint(at_seen, params).transpose(1, 2)
        group.filtered.pull_back(found[id(group)])
        torch.testing.assert_close(found[id(group)], expected, rtol=1e-3, atol=3e-5)


def test_a_large_photograph_loses_less_by_a_filter_than_a_small_one():
    """Its cells are several pixels wide, and a blur of a pixel shows little on them."""
    large = np.kron(photos([(80, 80)])[0], np.ones((8, 8, 1), np.uint8))
    lost = []
    for photo, cell in ((large, cell_side(640, 640, 24)), (large[::8, ::8], cell_side(80, 80, 24))):
        noise = noise_of(method="cell", noise_step="none", model_step="pgd", views="blur=1")
        (group,) = noise._arrange([means(photo, cell)], [cell], LABELS[:1], "x")
        shown = group.values(torch.empty(group.pixels.shape), 0, torch.Generator().manual_seed(1))
        lost.append(float((shown - group.pixels * group.steps.unit).abs().mean()))
    assert lost[0] < 0.5 * lost[1]


def test_pixels_that_no_crop_covered_keep_what_they_had():
    noise = noise_of(method="cell", noise_step="none", model_step="pgd")
    groups = noise._arrange(photos([(60, 80)]), [1], LABELS[:1], "x")
    groups[0].boxes[:] = torch.tensor([10.0, 20.0, 30.0, 40.0, 0.0])
    before = groups[0].pixels.clone()
    noise._step(groups, 0, Scratch(torch.device("cpu")), torch.Generator())
    moved = groups[0].pixels - before
    assert moved[:, 10:40, :, 20:60].any()
    moved[:, 10:40, :, 20:60] = 0
    assert not moved.any()


def test_noise_made_with_bfloat16_products_is_nearly_that_of_float32():
    """A sign differs where a gradient is almost 0; the loss that both are made for does not."""
    exact = noise_of(noise_step="none", method="cell", model_step="pgd")
    narrow = replace(exact, runtime=make_runtime("cpu", "bfloat16"))
    made = [of(photos(), LABELS, "x") for of in (exact, narrow)]
    equal = [np.mean(a == b) for a, b in zip(*made, strict=True)]
    assert np.mean(equal) > 0.9


@pytest.mark.parametrize("size", [(375, 500), (224, 224), (300, 900), (640, 480)], ids=str)
@pytest.mark.parametrize("draws", [20, 28])
def test_boxes_cover_all_of_a_photograph_about_equally_often(size, draws):
    """A place is covered between a quarter of the mean and thrice it; boxes at random leave corners bare."""
    draws *= draw_factor(*size)
    boxes = even_boxes(np.array([size] * 40), draws, np.random.default_rng(0)).astype(int)
    counts = np.zeros((40, *size))
    for number, (top, left, height, width, _) in ((n, box) for n in range(40) for box in boxes[n]):
        counts[number, top : top + height, left : left + width] += 1
    means_of = counts.mean((1, 2))
    assert (counts.min((1, 2)) >= 1).all(), "nothing is left bare"
    assert (counts.min((1, 2)) / means_of).mean() > 0.3
    assert (counts.max((1, 2)) / means_of).max() < 3
    assert (counts.std((1, 2)) / means_of).mean() < 0.35


@pytest.mark.slow
@pytest.mark.parametrize("size", [(375, 500), (224, 224)], ids=str)
def test_boxes_have_the_shapes_of_torchvision(size):
    ours = even_boxes(np.array([size] * 500), 8, np.random.default_rng(0)).reshape(-1, 5)
    images = torch.ones(4000, 1, *size)
    params = ResizedCrop(64).draw(images, torch.Generator().manual_seed(0))
    for column, matrix in ((2, params.rows), (3, params.columns)):
        theirs = (matrix > 0).any(1).sum(1).float().numpy()
        assert abs(ours[:, column].mean() - theirs.mean()) < 0.02 * theirs.mean()
        assert abs(ours[:, column].std() - theirs.std()) < 0.05 * theirs.std()
    assert abs(ours[:, 4].mean() - 0.5) < 0.05


@given(st.integers(8, 300), st.integers(8, 300), st.integers(0, 2**32))
def test_boxes_lie_inside_whatever_the_format(height, width, seed):
    top, left, tall, wide, _ = even_boxes(np.array([[height, width]]), 12, np.random.default_rng(seed))[0].T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (tall >= 1).all()
    assert (wide >= 1).all()
    assert (top + tall <= height).all()
    assert (left + wide <= width).all()


@pytest.mark.parametrize(("size", "crop", "side"), [((224, 224), 64, 1), ((3000, 4000), 224, 3), ((500, 333), 64, 1)])
def test_a_cell_is_never_larger_than_a_pixel_of_the_closest_view(size, crop, side):
    assert cell_side(*size, crop) == side
    closest = (0.08 * 0.75 * size[0] * size[1]) ** 0.5 / crop  # pixels that a pixel of it covers, along its short side
    assert side <= max(1, closest) < side + 1


@pytest.mark.parametrize("cell", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [(50, 70), (49, 71), (8, 9)])
def test_cells_are_means_and_their_noise_is_added_to_every_pixel_of_them(cell, size):
    photo = photos([size])[0]
    small = means(photo, cell)
    assert small.shape == (-(-size[0] // cell), -(-size[1] // cell), 3)
    whole = small[: size[0] // cell, : size[1] // cell]
    blocks = photo[: size[0] // cell * cell, : size[1] // cell * cell].astype(float)
    blocks = blocks.reshape(whole.shape[0], cell, whole.shape[1], cell, 3).mean((1, 3))
    assert np.abs(whole - blocks).max() <= 0.5
    noise = np.random.default_rng(0).integers(-8, 9, (3, *small.shape[:2])).astype(np.int8)
    expected = photo.astype(int)
    for row in range(size[0]):
        for column in range(size[1]):
            expected[row, column] += noise[:, row // cell, column // cell]
    assert np.array_equal(add_cells(photo, noise, cell), expected.clip(0, 255))


def test_bands_meet_without_a_seam():
    photo = photos([(120, 50)])[0]
    noise = np.random.default_rng(0).integers(-8, 9, (3, 40, 17)).astype(np.int8)
    whole = add_cells(photo, noise, 3)
    assert photo.size < BAND_PIXELS
    assert np.array_equal(add_cells(photo, noise, 3, band_pixels=600), whole)


def test_grey_photographs_keep_three_equal_channels_when_asked():
    pictures = photos()
    for number in (0, 3):
        pictures[number] = np.repeat(pictures[number][:, :, :1], 3, 2)
    kept, coloured = noise_of(grey="keep")(pictures, LABELS, "x"), noise_of()(pictures, LABELS, "x")
    for number, protected in enumerate(kept):
        assert (protected == protected[:, :, :1]).all() == (number in (0, 3))
        assert not (coloured[number] == coloured[number][:, :, :1]).all()
        assert np.abs(protected.astype(int) - pictures[number]).max() == 8


def test_noise_made_through_jpeg_is_within_the_budget_and_another():
    plain, safe = noise_of()(photos(), LABELS, "x"), noise_of(jpeg_safe=True, quality=75)(photos(), LABELS, "x")
    assert not any(map(np.array_equal, plain, safe))
    assert all(np.abs(p.astype(int) - c).max() == 8 for p, c in zip(safe, photos(), strict=True))


# --- squashed copies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (60, 90), (128, 70), (40, 160)], ids=str)
def test_a_crop_of_a_squashed_image_shows_what_one_of_the_image_shows(size):
    """Drawn with the same random numbers; on a smooth picture, since a squashed one holds less detail."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    waves = [np.sin(rows / size[0] * 5 + k) + np.cos(columns / size[1] * 4 - k) for k in range(3)]
    image = (np.stack(waves, 2) * 60 + 128).clip(0, 255).astype(np.uint8)
    small = squash(image, 64)
    native, squashed = (torch.from_numpy(p.transpose(2, 0, 1).copy())[None].float() / 255 for p in (image, small))
    view = ResizedCrop(32)
    on = view.on(torch.tensor([size]))
    for seed in range(8):
        params = (each.draw(x, torch.Generator().manual_seed(seed)) for each, x in ((view, native), (on, squashed)))
        native_view, squashed_view = view.apply(native, next(params)), on.apply(squashed, next(params))
        assert (native_view - squashed_view).abs().mean() < 0.02
    assert (view.apply(native, view.centre(native)) - on.apply(squashed, on.centre(squashed))).abs().mean() < 0.02


@given(st.lists(st.tuples(st.integers(8, 5000), st.integers(8, 5000)), min_size=1, max_size=5), st.integers(0, 99))
def test_the_adjoint_on_squashed_images_is_the_adjoint_and_nothing_is_infinite(sizes, seed):
    view, generator = ResizedCrop(12).on(torch.tensor(sizes)), torch.Generator().manual_seed(seed)
    x = torch.randn(len(sizes), 3, 20, 20, dtype=torch.float64, generator=generator)
    params = view.draw(x, generator)
    seen = view.apply(x, params)
    g = torch.randn(seen.shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close((seen * g).sum(), (x * view.adjoint(g, params)).sum(), rtol=1e-10, atol=1e-9)
    assert torch.isfinite(seen).all()
    assert torch.allclose(params.rows.sum(2), torch.ones(()).double())


def test_views_without_boxes_take_squashed_images_as_they_are():
    sizes = torch.tensor([[10, 20]])
    assert CropFlip(4).on(sizes) == CropFlip(4)
    assert Whole(8).on(sizes) == Whole(8)


def test_a_box_of_whole_pixels_is_resampled_as_torch_does():
    x = torch.rand(1, 3, 50, 70, dtype=torch.float64)
    box = tuple(torch.tensor([float(value)]) for value in (7, 11, 31, 40))
    view = box_resampling(box, torch.tensor([True]), (50, 70), 24)
    expected = F.interpolate(x[:, :, 7:38, 11:51], (24, 24), mode="bilinear", antialias=True).flip(3)
    torch.testing.assert_close(
        resample(x, type(view)(view.rows.double(), view.columns.double())), expected, atol=1e-6, rtol=1e-5
    )


def test_views_that_need_one_size_say_so():
    from semshard import SettingError

    with pytest.raises(SettingError, match="--resolution N"):
        make_view(protect_config("quick", (32, 32), "float32", {}), None)


# --- large ones ---------------------------------------------------------------------------------------------------

_LARGE = """
import json, resource, sys
import numpy as np, torch
from semshard.engine import make_runtime
from semshard.noise import new_surrogate
from semshard.noise.photos import PhotoNoise
from semshard.settings import protect_config
config = protect_config("quick", None, "float32", {"crop": 32, "final_steps": 2, "final_draws": 1})
runtime = make_runtime("cpu", "float32")
noise = PhotoNoise(runtime, runtime.folded(new_surrogate(config, 2, None, runtime)), config.final())
noise([np.zeros((64, 64, 3), np.uint8)], torch.zeros(1).long(), "x")
photo = np.full((10_000, 10_000, 3), 100, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(protected,) = noise([photo], torch.zeros(1).long(), "x")
most = int(np.abs(protected[::97, ::89].astype(int) - 100).max())
changed = float((protected[5::101, 7::103] != 100).mean())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"grown": (after - before) * 1024, "bytes": photo.nbytes, "most": most, "changed": changed}))
"""


@pytest.mark.slow
def test_a_hundred_megapixels_are_crafted_in_little_more_memory_than_the_result_takes():
    done = subprocess.run([sys.executable, "-c", _LARGE], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    assert measured["grown"] < 1.5 * measured["bytes"]
    assert measured["most"] == 8
    assert measured["changed"] > 0.9


def test_a_strip_of_pixels_neither_takes_for_ever_nor_much_memory():
    """An untrusted file of a few kilobytes: its crops are taken a few at a time, no more than 32 times the usual."""
    assert draw_factor(8, 1_000_000) == 32
    (strip,) = photos([(8, 20_000)])
    start = time.process_time()
    (protected,) = noise_of(final_steps=1, final_draws=1)([strip], LABELS[:1], "x")
    assert time.process_time() - start < 30
    assert np.abs(protected.astype(int) - strip).max() == 8


def test_a_panorama_is_crafted_on_cells_too():
    assert cell_side(1500, 66_000, 224) == 6
