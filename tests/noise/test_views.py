"""The views: what they do to pixels, and that the adjoint is the adjoint."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from semshard.noise.views import CropFlip, ResizedCrop, Whole
from semshard.noise.views.crop_flip import shift
from semshard.noise.views.resized_crop import weights
from tests import reference

VIEWS = [CropFlip(4), CropFlip(0), ResizedCrop(16), ResizedCrop(40), Whole(), Whole(16)]
SHAPES = [(3, 3, 32, 32), (2, 3, 23, 31), (5, 1, 9, 40)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_adjoint_is_the_adjoint(view, shape, seed):
    x = torch.randn(shape, dtype=torch.float64, generator=generator(seed))
    params = view.draw(x, generator(seed + 100))
    seen = view.apply(x, params)
    g = torch.randn(seen.shape, dtype=torch.float64, generator=generator(seed + 200))
    torch.testing.assert_close((seen * g).sum(), (x * view.adjoint(g, params)).sum(), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_the_gradient_through_a_view_is_its_adjoint(view):
    x = torch.randn(2, 3, 20, 24, dtype=torch.float64, requires_grad=True)
    params = view.draw(x, generator())
    seen = view.apply(x, params)
    g = torch.randn_like(seen)
    (gradient,) = torch.autograd.grad(seen, x, g)
    torch.testing.assert_close(gradient, view.adjoint(g, params), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (4, -4), (-3, 2), (-4, -4)])
def test_crop_flip_is_flip_then_pad_then_crop(dy, dx, flip):
    x = torch.rand(1, 3, 11, 13, dtype=torch.float64)
    params = shift(torch.tensor([dy]), torch.tensor([dx]), torch.tensor([flip]), 11, 13)
    expected = reference.view(x[0], dy, dx, flip, pad=4)
    assert torch.equal(CropFlip(4).apply(x, params)[0], expected)


def test_crop_flip_draws_every_offset_and_both_sides():
    x = torch.arange(32 * 32, dtype=torch.float64).reshape(1, 1, 32, 32).expand(4000, 1, 32, 32)
    seen = CropFlip(4).apply(x, CropFlip(4).draw(x, generator()))
    assert len({tuple(view.flatten()[500:502].tolist()) for view in seen}) == 9 * 9 * 2


def test_the_centre_of_crop_flip_is_the_image():
    x = torch.rand(2, 3, 8, 10)
    assert torch.equal(CropFlip(4).apply(x, CropFlip(4).centre(x)), x)


@pytest.mark.parametrize(("size", "side", "start", "length"), [(50, 20, 7, 31), (40, 64, 3, 22), (30, 30, 0, 30)])
def test_resampling_weights_are_those_of_pillow(size, side, start, length):
    image = np.random.default_rng(0).integers(0, 256, (size, size), np.uint8)
    box = (start, start, start + length, start + length)
    expected = np.asarray(Image.fromarray(image).crop(box).resize((side, side), Image.Resampling.BILINEAR), float)
    w = weights(torch.tensor([float(start)]), torch.tensor([float(length)]), size, side)[0].double().numpy()
    resized = w @ image.astype(float) @ w.T
    assert np.abs(resized - expected).max() <= 1.01  # Pillow rounds twice
    assert np.allclose(w.sum(1), 1)


def test_resized_crops_are_drawn_like_those_of_torchvision():
    picture, crop = torch.zeros(3, 60, 80), v2.RandomResizedCrop(64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boxes = [crop.make_params([picture]) for _ in range(4000)]
    params = ResizedCrop(64).draw(torch.ones(4000, 1, 60, 80), generator())
    for name, matrix in (("width", params.columns), ("height", params.rows)):
        theirs = torch.tensor([float(box[name]) for box in boxes])
        ours = (matrix > 0).any(1).sum(1).float()  # input pixels that any output pixel uses
        assert abs(theirs.mean() - ours.mean()) < 1
        assert abs(theirs.std() - ours.std()) < 1


def test_the_centre_of_a_resized_crop_is_the_central_square():
    x = torch.zeros(1, 1, 256, 300)
    x[:, :, 16:240, 38:262] = 1
    view = ResizedCrop(224)
    assert torch.allclose(view.apply(x, view.centre(x)), torch.ones(1, 1, 224, 224))


def test_the_whole_image_is_all_of_it():
    x = torch.rand(2, 3, 20, 30, dtype=torch.float64)
    assert torch.equal(Whole().apply(x, Whole().draw(x, generator())), x)
    squeezed = Whole(10).apply(x, Whole(10).centre(x))
    assert squeezed.shape == (2, 3, 10, 10)
    reached = Whole(10).adjoint(torch.ones_like(squeezed), Whole(10).centre(x))
    assert (reached > 0).all(), "every pixel counts, those at the border too"
