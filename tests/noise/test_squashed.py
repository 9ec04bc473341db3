"""Noise steps and views of squashed photographs, against the plain form of both on float pixels."""

import pytest
import torch

from semshard.engine import make_runtime
from semshard.noise import new_surrogate
from semshard.noise.ball import to_levels
from semshard.noise.craft import NoiseCrafter, grey_images
from semshard.noise.squashed import SquashedImages, suits
from semshard.noise.views import make_view, noise_view
from semshard.noise.views.resized_crop import ResizedCrop
from semshard.settings import levels, protect_config

RUNTIME = make_runtime("cpu", "float32")
SIDE, CROP = 48, 24


def images(count=6, grey=0, seed=0):
    stream = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=stream)
    drawn[:grey] = drawn[:grey, :1]
    return drawn


SIZES = torch.tensor([[48, 48], [60, 90], [200, 50], [48, 49], [30, 40], [400, 300]])
LABELS = torch.arange(6) % 4


def parts(**given):
    given = {
        "crop": CROP,
        "noise_step": "none",
        "model_step": "pgd",
        "method": "cell",
        "draws": 2,
        "steps_u": 3,
    } | given
    config = protect_config("quick", None, "float32", given)
    network = RUNTIME.folded(new_surrogate(config, 4, None, RUNTIME))
    return config, network, SquashedImages(config, ResizedCrop(CROP, SIZES), RUNTIME)


def stream():
    return torch.Generator().manual_seed(3)


FILTERED = {"views": ("resized-crop", "blur=1"), "draws": 1}  # one draw: streams agree


@pytest.mark.parametrize(
    "given", [{}, FILTERED, {"views": ("resized-crop", "grey=0.5")}, {"draws": 1, "rho_u": 16 / 255}]
)
def test_the_noise_is_that_of_signed_steps_on_float_pixels(given):
    config, network, squashed = parts(**given)
    begin = to_levels((torch.rand(6, 3, SIDE, SIDE, generator=stream()) - 0.5) * 2 * config.rho_u, config.rho_u)
    crafter = NoiseCrafter(network, noise_view(make_view(config, (SIDE, SIDE))[0].on(SIZES), config), config)
    x = images()
    plain = to_levels(crafter(x.float() / 255, LABELS, stream(), None, begin.float() / 255), config.rho_u)
    found = squashed.noise(network, x, LABELS, begin, None, stream())
    if config.noise_families[:1] != ("grey=0.5",):  # families draw after all crops here, between them there
        assert (found == plain).float().mean() > 0.99, "all but values whose gradient is rounding alone"
    assert (found != begin).float().mean() > 0.5
    assert (found.abs() <= levels(config.rho_u)).all()
    seen = x.to(torch.int16) + found
    assert seen.min() >= 0
    assert seen.max() <= 255


def test_a_random_start_fills_the_ball_and_depends_on_the_stream():
    config, network, squashed = parts(steps_u=1, alpha_u=0.01 / 255)
    one, again = (squashed.noise(network, images(), LABELS, None, None, stream()) for _ in range(2))
    other = squashed.noise(network, images(), LABELS, None, None, torch.Generator().manual_seed(4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    inner = one[(images() > 8) & (images() < 247)]
    most = levels(config.rho_u)
    assert set(inner.unique().tolist()) == set(range(-most, most + 1))
    assert abs(inner.float().mean()) < 0.2


def test_noise_of_grey_images_is_the_same_in_all_channels():
    _, network, squashed = parts(grey="keep")
    x = images(grey=3)
    noise = squashed.noise(network, x, LABELS, None, grey_images(x), stream())
    assert torch.equal(noise[:3], noise[:3, :1].expand(3, 3, SIDE, SIDE))
    assert not torch.equal(noise[3:], noise[3:, :1].expand(3, 3, SIDE, SIDE))


def test_views_are_those_of_a_random_resized_crop():
    _, _, squashed = parts()
    x = images()
    floats = x.float() / 255
    drawn = squashed.crop.draw(floats, stream())
    torch.testing.assert_close(squashed.views(x, stream()), squashed.crop.apply(floats, drawn), rtol=0, atol=1e-5)


def test_views_are_filtered_before_they_are_cropped():
    config, _, squashed = parts(views=("resized-crop", "blur=1"))
    x, view = images(), make_view(config, (SIDE, SIDE))[0].on(SIZES)
    floats = x.float() / 255
    expected = view.apply(floats, view.draw(floats, stream()))
    torch.testing.assert_close(squashed.views(x, stream()), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(expected, squashed.crop.apply(floats, squashed.crop.draw(floats, stream())), atol=0.01)


def test_settings_with_something_before_the_crop_go_the_plain_way():
    assert suits(parts()[0])
    assert not suits(parts(jpeg_safe=True)[0])
    assert not suits(parts(noise_views=("none",))[0])
    assert not suits(protect_config("quick", (32, 32), "float32", {}))
