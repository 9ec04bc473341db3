"""Differentiable JPEG: every pixel as libjpeg-turbo decodes it, and the gradient that autograd would give."""

import io

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from semshard.errors import SettingError
from semshard.noise.views.jpeg import Jpeg, _matrix, quantisation_tables
from tests.support.devices import DEVICES

SUBSAMPLINGS = ("4:4:4", "4:2:0")
SLOPES = ("cubic", "straight")
SIZES = [(64, 64), (61, 47), (32, 48), (17, 33), (16, 8), (9, 5), (7, 4), (5, 3), (2, 2), (1, 40), (40, 1), (1, 1)]
QUALITIES = [1, 10, 50, 75, 95, 100]
FACTORS = {"4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420}


def picture(kind, height, width, seed=0):
    """uint8 (H, W, 3): every pixel drawn, or every sixth and the rest interpolated."""
    rng = np.random.default_rng((seed, height, width))
    if kind == "noisy":
        return rng.integers(0, 256, (height, width, 3), np.uint8)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def tensor(pixels, dtype=torch.float64):
    return torch.tensor(pixels).permute(2, 0, 1)[None].to(dtype) / 255


def pixels(images):
    """The only picture of a batch in grey levels, float (H, W, 3)."""
    return (images[0] * 255).permute(1, 2, 0).double().numpy()


def random(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def through_pillow(image, quality, subsampling):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def through_opencv(image, quality, subsampling):
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FACTORS[subsampling]]
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


LIBRARIES = [
    pytest.param(through_opencv, id="opencv"),
    pytest.param(
        through_pillow,
        id="pillow",
        marks=pytest.mark.skipif(not features.check("libjpeg_turbo"), reason="Pillow is built with another libjpeg"),
    ),
]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_in_float64_every_pixel_is_that_of_libjpeg(library, subsampling, size):
    for kind in ("noisy", "smooth"):
        image = picture(kind, *size)
        for quality in QUALITIES:
            decoded = pixels(Jpeg(quality, subsampling).apply(tensor(image))[0])
            np.testing.assert_allclose(decoded, library(image, quality, subsampling), rtol=0, atol=1e-9)


@settings(max_examples=60)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(SUBSAMPLINGS),
    kind=st.sampled_from(("noisy", "smooth")),
    seed=st.integers(0, 1000),
)
def test_any_picture_of_any_size_at_any_quality_decodes_as_by_libjpeg(height, width, quality, subsampling, kind, seed):
    image = picture(kind, height, width, seed)
    decoded = pixels(Jpeg(quality, subsampling).apply(tensor(image))[0])
    np.testing.assert_allclose(decoded, through_opencv(image, quality, subsampling), rtol=0, atol=1e-9)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", QUALITIES)
def test_in_float32_hardly_a_pixel_differs_from_libjpeg(subsampling, quality):
    differences = []
    for kind in ("noisy", "smooth"):
        image = picture(kind, 250, 339)
        decoded = pixels(Jpeg(quality, subsampling).apply(tensor(image, torch.float32))[0])
        differences.append((decoded - through_opencv(image, quality, subsampling)).ravel())
    difference = np.concatenate(differences)
    assert np.abs(difference).mean() < 1e-3
    assert (np.abs(difference) < 0.5).mean() > 0.9995
    assert (np.abs(difference) < 2.5).mean() > 0.9999


def test_whole_colours_at_the_corners_of_the_cube_decode_as_by_libjpeg():
    levels = np.array([0, 1, 127, 128, 254, 255], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(12, 18, 3)
    image = cube.repeat(8, 0).repeat(8, 1)
    for dtype in (torch.float32, torch.float64):
        decoded = pixels(Jpeg(100, "4:4:4").apply(tensor(image, dtype))[0])
        np.testing.assert_allclose(decoded, through_opencv(image, 100, "4:4:4"), rtol=0, atol=1e-3)


def test_quantisation_tables_are_those_in_the_files_that_pillow_writes():
    tables = quantisation_tables(torch.arange(1, 101))
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        written = Image.open(file).quantization
        assert [written[0], written[1]] == tables[quality - 1].flatten(1).tolist()


class Rounded(torch.autograd.Function):
    """`whole`, whose gradient is that of x times `slope`."""

    @staticmethod
    def forward(ctx, x, whole, slope):
        ctx.save_for_backward(slope)
        return whole

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None, None


def half_up(x, offset=0.5):
    return Rounded.apply(x, (x + offset).floor(), torch.ones_like(x))


def half_away(x, slope):
    whole = x.sign() * (x.abs() + 0.5).floor()
    return Rounded.apply(x, whole, 3 * (x - whole) ** 2 if slope == "cubic" else torch.ones_like(x))


def clamped(x, low, high):
    """The limits themselves are not clipped; torch has changed its mind on their gradient."""
    return torch.where((x >= low) & (x <= high), x, x.detach().clamp(low, high))


def unchanged(x, *_):
    return x


def composed(images, quality, subsampling, slope="straight", rounded=True):
    """JPEG block by block from torch's own differentiable parts; or the same without rounding and clamping: affine."""
    up, away, clamp = (half_up, half_away, clamped) if rounded else (unchanged,) * 3
    height, width = images.shape[2:]
    matrix = _matrix(images, -13)

    def coded(planes, table):
        rows, columns = -(-planes.shape[2] // 8), -(-planes.shape[3] // 8)
        padded = F.pad(
            planes, (0, 8 * columns - planes.shape[3], 0, 8 * rows - planes.shape[2]), mode="replicate"
        ).reshape(*planes.shape[:2], rows, 8, columns, 8)
        half = up(torch.einsum("ncrxsy,vy->ncrxsv", padded, matrix) * 4)
        coefficients = up(torch.einsum("ncrxsv,ux->ncrusv", half, matrix) / 4)
        steps = table[:, None, :, None, :].double()
        coefficients = away(coefficients / (8 * steps), slope) * steps
        half = up(torch.einsum("ncrusv,ux->ncrxsv", coefficients, matrix) * 4)
        samples = up(torch.einsum("ncrxsv,vy->ncrxsy", half, matrix) / 32).flatten(4).flatten(2, 3)
        return clamp(samples[..., : planes.shape[2], : planes.shape[3]], -128, 127)

    red, green, blue = (images * 255).unbind(1)
    y = up((19595 * red + 38470 * green + 7471 * blue) / 65536 - 128)
    cb = up((-11059 * red - 21709 * green + 32768 * blue) / 65536, 0.5 - 2**-16)
    cr = up((32768 * red - 27439 * green - 5329 * blue) / 65536, 0.5 - 2**-16)
    tables = quantisation_tables(torch.tensor(quality))[0]
    y = coded(y[:, None], tables[:1])
    chroma = torch.stack((cb, cr), 1)
    if subsampling == "4:2:0":
        chroma = F.pad(chroma, (0, -width % 16, 0, height % 2), mode="replicate")
        chroma = up(F.avg_pool2d(chroma, 2), torch.tensor([1.0, 2.0]).repeat(chroma.shape[3] // 4) / 4)
        chroma = coded(chroma, tables[1:].expand(2, 8, 8))[..., : (width + 1) // 2]
        how = {"mode": "bilinear", "align_corners": False} if width > 4 else {"mode": "nearest"}
        chroma = F.interpolate(chroma, scale_factor=2, **how)
        chroma = up(chroma, torch.tensor([8.0, 7.0]).repeat(chroma.shape[3] // 2) / 16)[..., :height, :width]
    else:
        chroma = coded(chroma, tables[1:].expand(2, 8, 8))
    y, (cb, cr) = y[:, 0], chroma.unbind(1)
    red = y + up(91881 * cr / 65536)
    green = y + up((-22554 * cb - 46802 * cr) / 65536)
    blue = y + up(116130 * cb / 65536)
    return clamp(torch.stack((red, green, blue), 1) + 128, 0, 255) / 255


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(32, 32), (23, 37), (18, 5), (7, 3), (1, 9), (1, 1)], ids=str)
@pytest.mark.parametrize("quality", [5, 50, 95])
def test_the_gradient_is_that_of_autograd_through_the_same_steps(slope, subsampling, size, quality):
    x = random(2, 3, *size, seed=quality).requires_grad_()
    g = random(2, 3, *size, seed=1) - 0.5
    expected = composed(x, quality, subsampling, slope)
    (gradient,) = torch.autograd.grad(expected, x, g)
    jpeg = Jpeg(quality, subsampling, slope)
    decoded, saved = jpeg.apply(x)
    torch.testing.assert_close(decoded, expected.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(jpeg.adjoint(g, saved), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(32, 32), (23, 37), (18, 5), (7, 3), (1, 9)], ids=str)
def test_straight_through_where_nothing_clips_the_adjoint_is_the_adjoint(subsampling, size):
    grey = 0.5 + 0.1 * random(2, 3, *size)
    v, g = random(2, 3, *size, seed=1) - 0.5, random(2, 3, *size, seed=2) - 0.5
    pushed = composed(v, 80, subsampling, rounded=False) - composed(0 * v, 80, subsampling, rounded=False)
    jpeg = Jpeg(80, subsampling, "straight")
    _, saved = jpeg.apply(grey)
    assert (saved.samples == saved.samples.clamp(0, 255)).all()
    torch.testing.assert_close((pushed * g).sum(), (v * jpeg.adjoint(g, saved)).sum(), rtol=1e-10, atol=1e-12)


def test_clipped_pixels_have_no_gradient():
    saturated = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)[:, None, None]
    image = torch.where(torch.arange(16) % 5 < 2, saturated, 1 - saturated).expand(1, 3, 16, 16).contiguous()
    jpeg = Jpeg(30, "4:4:4", "straight")
    decoded, saved = jpeg.apply(image)
    clipped = saved.samples != saved.samples.clamp(0, 255)
    assert clipped.any()
    assert ((decoded == 0) | (decoded == 1))[clipped].all()
    assert not jpeg.adjoint(clipped.double(), saved).any()


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_each_picture_at_its_own_quality_is_as_if_alone(slope, subsampling):
    x, g = random(6, 3, 21, 30), random(6, 3, 21, 30, seed=1) - 0.5
    quality = torch.tensor([1, 10, 49, 50, 75, 100])
    together = Jpeg(quality, subsampling, slope)
    decoded, saved = together.apply(x)
    gradient = together.adjoint(g, saved)
    for i, each in enumerate(quality.tolist()):
        alone = Jpeg(each, subsampling, slope)
        decoded_alone, saved_alone = alone.apply(x[i : i + 1])
        assert torch.equal(decoded[i : i + 1], decoded_alone)
        torch.testing.assert_close(gradient[i : i + 1], alone.adjoint(g[i : i + 1], saved_alone), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("device", DEVICES)
def test_the_same_bits_every_time_and_nothing_else_touched(subsampling, dtype, device):
    x = random(3, 3, 33, 50, dtype=dtype).to(device).requires_grad_()
    g = random(3, 3, 33, 50, seed=1, dtype=dtype).to(device)
    before, random_state = (x.detach().clone(), g.clone()), torch.get_rng_state()
    jpeg = Jpeg(torch.tensor([20, 60, 90], device=device), subsampling)
    decoded, saved = jpeg.apply(x)
    gradient = jpeg.adjoint(g, saved)
    for result in (decoded, gradient):
        assert (result.dtype, result.device, result.shape) == (x.dtype, x.device, x.shape)
        assert not result.requires_grad, "no graph is recorded"
    decoded_again, saved_again = jpeg.apply(x)
    assert torch.equal(decoded, decoded_again)
    assert torch.equal(gradient, jpeg.adjoint(g, saved_again))
    assert torch.equal(gradient, jpeg.adjoint(g, saved)), "what was saved can be used again"
    assert torch.equal(before[0], x)
    assert torch.equal(before[1], g)
    assert torch.equal(random_state, torch.get_rng_state())


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_steps_down_the_gradient_bring_the_decoded_picture_nearer_to_another(slope, subsampling, quality):
    x = torch.cat([tensor(picture("smooth", 40, 56, seed), torch.float32) for seed in range(4)])
    target = (x + 8 / 255 * (random(4, 3, 1, 1, dtype=torch.float32) - 0.5).sign()).clamp(0, 1)
    jpeg = Jpeg(quality, subsampling, slope)

    def loss(images):
        decoded, saved = jpeg.apply(images)
        return (decoded - target).square().sum((1, 2, 3)), jpeg.adjoint(2 * (decoded - target), saved)

    start, gradient = loss(x)
    step = (x - 2 / 255 * gradient.sign()).clamp(0, 1)
    assert (loss(step)[0] < start).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_memory_layout_does_not_matter(layout):
    x, g = random(2, 3, 19, 26), random(2, 3, 19, 26, seed=1)
    jpeg = Jpeg(60, "4:2:0")
    decoded, saved = jpeg.apply(x)
    laid, saved_laid = jpeg.apply(x.contiguous(memory_format=layout))
    assert torch.equal(decoded, laid)
    gradient = jpeg.adjoint(g, saved)
    torch.testing.assert_close(gradient, jpeg.adjoint(g.contiguous(memory_format=layout), saved_laid))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"quality": 0}, "quality"),
        ({"quality": 101}, "quality"),
        ({"subsampling": "4:1:1"}, "subsampling"),
        ({"slope": "steep"}, "slope"),
    ],
)
def test_unknown_values_are_named(wrong, word):
    with pytest.raises(SettingError, match=word):
        Jpeg(**{"quality": 50, "subsampling": "4:2:0"} | wrong)
