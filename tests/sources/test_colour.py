"""Colours become 8-bit sRGB by the rule: profiles, inks, palettes, transparency, more than 8 bits."""

import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from semshard.sources.decode import Decoding, decode
from tests.support import corpus
from tests.support.corpus import picture, saved
from tests.support.outcomes import grey, largest_difference, note, pixels

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of odd files in many ways; what counts is the outcome


# Profiles, inks and palettes


def srgb_of(linear):
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
    return (curve * 255).clip(0, 255).round()


def test_a_wide_gamut_profile_is_converted_by_its_colorimetry():
    levels = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3), -1).reshape(64, 64, 3).astype(np.uint8)
    decoded = decode(saved(levels, "PNG", icc_profile=corpus.profile(gamma=2.0)))
    xyz = (levels / 255.0) ** 2 @ np.array(corpus.DISPLAY_P3)
    expected = srgb_of(xyz @ np.linalg.inv(np.array(corpus.SRGB)))
    assert largest_difference(decoded.pixels, expected) <= 2
    assert decoded.note == "converted from the profile Display P3"


def test_the_profile_of_srgb_changes_nothing():
    decoded = decode(saved(picture(), "PNG", icc_profile=corpus.srgb_profile()))
    assert np.array_equal(decoded.pixels, picture())
    assert decoded.note == ""


def test_a_grey_profile_is_converted_and_grey_stays_exactly_grey():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = pixels(saved(levels, "PNG", icc_profile=corpus.grey_profile(1.0)))
    assert largest_difference(decoded, grey(srgb_of(levels / 255.0))) <= 1
    assert (decoded == decoded[..., :1]).all()


def test_grey_pixels_with_a_profile_for_rgb_stay_exactly_grey():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = pixels(saved(levels, "PNG", icc_profile=corpus.profile(gamma=1.0)))
    assert largest_difference(decoded, grey(srgb_of(levels / 255.0))) <= 2
    assert (decoded == decoded[..., :1]).all()


def test_a_profile_for_cmyk_says_what_the_inks_look_like():
    corners = np.array(np.meshgrid(*[[0, 255]] * 4, indexing="ij")).reshape(4, -1).T.astype(np.uint8)
    ink = corners.repeat(16, 0).reshape(16, 16, 4)
    decoded = decode(saved(Image.fromarray(ink, "CMYK"), "TIFF", icc_profile=corpus.cmyk_profile()))
    lightness = np.array([100 * max(0, 255 - 60 * inks) / 255 for inks in (corners > 0).sum(1)])
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    luminance = (luminance - luminance.min()) / (1 - luminance.min())  # all inks together are black
    assert largest_difference(decoded.pixels[:, 8], grey(srgb_of(luminance))) <= 2
    assert decoded.note == "CMYK; converted from the profile A grey press"


def test_a_grey_profile_of_colours_with_alpha_is_ignored():
    layer = picture(channels=4)
    plain, odd = (saved(Image.fromarray(layer), "PNG", **more) for more in ({}, {"icc_profile": corpus.grey_profile()}))
    assert np.array_equal(pixels(odd), pixels(plain))
    assert note(odd).startswith("unusable colour profile ignored")


@pytest.mark.parametrize(
    "profile",
    [b"no profile" * 20, corpus.profile()[:200], corpus.cmyk_profile(), corpus.grey_profile(), b""],
)
def test_an_unusable_profile_is_ignored_with_a_note(profile):
    data = corpus.png(picture().reshape(40, -1), 8, 2, more=corpus.chunk(b"iCCP", b"x\0\0" + b"no zlib"))
    data = saved(picture(), "PNG", icc_profile=profile) if profile else data
    assert np.array_equal(pixels(data), picture())
    assert note(data) == "unusable colour profile ignored"
    assert not decode(data, Decoding(keep_metadata="all")).metadata


def test_conversion_gives_the_same_in_many_threads():
    files = [saved(picture(seed=n), "PNG", icc_profile=corpus.profile(gamma=1.8 + n % 12 / 10)) for n in range(60)]
    expected = [pixels(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(pixels, files * 5))
    assert all(np.array_equal(a, b) for a, b in zip(decoded, expected * 5, strict=True))


@pytest.mark.parametrize(
    "data_of", [corpus.cmyk_jpeg, lambda ink: corpus.cmyk_jpeg(ink, adobe=False), corpus.ycck_jpeg]
)
def test_inks_of_a_jpeg_are_read_as_their_marker_says(data_of):
    ink = picture(channels=4)
    expected = np.asarray(Image.fromarray(ink, "CMYK").convert("RGB"))
    decoded = decode(data_of(ink))
    assert np.abs(decoded.pixels.astype(int) - expected).mean() < 2
    assert decoded.note == "CMYK"


def test_one_bit_and_palette_become_their_colours():
    one_bit = Image.fromarray(picture()[..., 0]).convert("1")
    indexed = Image.fromarray(picture()).quantize(16)
    for image in (one_bit, indexed):
        assert np.array_equal(pixels(saved(image, "PNG")), np.asarray(image.convert("RGB")))


# Transparency


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 90)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_the_background(kind, background):
    layer = picture(channels=4)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    decoded = decode(saved(Image.fromarray(layer), kind, **options), Decoding(background=background))
    alpha = layer[..., 3:] / 255
    assert (
        largest_difference(decoded.pixels, (layer[..., :3] * alpha + np.array(background) * (1 - alpha)).round()) <= 1
    )
    assert decoded.note == "alpha composited on #{:02x}{:02x}{:02x}".format(*background)


def test_colours_are_converted_before_they_are_composited_on_the_background():
    layer = picture(channels=4)
    layer[..., 3] = 0
    assert (
        pixels(saved(Image.fromarray(layer), "PNG", icc_profile=corpus.profile()), background=(9, 8, 7)) == [9, 8, 7]
    ).all()


def test_an_opaque_alpha_channel_is_no_news():
    layer = picture(channels=4)
    layer[..., 3] = 255
    decoded = decode(saved(Image.fromarray(layer), "PNG"))
    assert np.array_equal(decoded.pixels, layer[..., :3])
    assert decoded.note == ""


def test_a_palette_may_be_partly_transparent():
    indexed = Image.fromarray(picture()).quantize(4)
    data = saved(indexed, "PNG", transparency=bytes((0, 255, 128, 255)))
    index, decoded = np.asarray(indexed), pixels(data, background=(0, 0, 0))
    plain = np.asarray(indexed.convert("RGB"))
    assert (decoded[index == 0] == 0).all()
    assert np.array_equal(decoded[index % 2 == 1], plain[index % 2 == 1])
    assert largest_difference(decoded[index == 2], plain[index == 2] / 2) <= 1


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_level_of_grey_may_be_transparent(depth):
    levels = np.arange(256).reshape(16, 16) % 2**depth
    key = min(2**depth - 1, 200)
    if depth == 16:
        rows = (levels * 257).astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(levels.astype(np.uint8)[..., None], axis=2)[..., -depth:]
        rows = np.packbits(bits.reshape(16, -1), axis=1)
    transparent = struct.pack(">H", key * (257 if depth == 16 else 1))
    decoded = pixels(corpus.png(rows, depth, 0, transparent), background=(1, 2, 3))
    scale = 255 // (2 ** min(depth, 8) - 1)
    expected = np.where((levels == key)[..., None], [1, 2, 3], grey(levels * scale))
    assert np.array_equal(decoded, expected)


@pytest.mark.parametrize("depth", [8, 16])
def test_one_colour_may_be_transparent(depth):
    colours = picture()
    samples = colours.astype(np.uint8) if depth == 8 else (colours.astype(">u2") * 257).astype(">u2").view(np.uint8)
    key = colours[5, 6].astype(int)
    data = corpus.png(samples.reshape(40, -1), depth, 2, struct.pack(">3H", *(key * (257 if depth == 16 else 1))))
    expected = np.where((colours == key).all(-1, keepdims=True), [1, 2, 3], colours)
    assert np.array_equal(pixels(data, background=(1, 2, 3)), expected)


# More than 8 bits


@pytest.mark.parametrize(("kind", "order"), [("PNG", ">"), ("TIFF", "<"), ("TIFF", ">"), ("PPM", ">")])
def test_grey_of_16_bits_keeps_its_high_byte(kind, order):
    data, levels = corpus.sixteen_bit(kind, order)
    assert np.array_equal(pixels(data), grey(levels >> 8))
    assert note(data) == "16 bits per channel"


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_keep_their_high_byte(channels):
    levels = np.random.default_rng(1).integers(0, 65536, (16, 16, channels)).astype(np.uint16)
    if channels in (2, 4):
        levels[..., -1] = 65535  # opaque
    colour_type = {2: 4, 3: 2, 4: 6}[channels]
    rows = levels.astype(">u2").view(np.uint8).reshape(16, -1)
    expected = grey(levels[..., 0] >> 8) if channels == 2 else levels[..., :3] >> 8
    files = [corpus.png(rows, 16, colour_type)]
    if channels == 3:
        files += [corpus.tiff(levels, "<"), corpus.tiff(levels.astype(">u2"), ">")]
    for data in files:
        assert np.array_equal(pixels(data), expected)
        assert note(data) == "16 bits per channel"


def test_grey_and_alpha_of_16_bits_takes_a_grey_profile():
    levels = np.full((16, 16, 2), 0x8080, ">u2")
    levels[..., 1] = 65535
    decoded = pixels(corpus.png(levels.view(np.uint8).reshape(16, -1), 16, 4, profile=corpus.grey_profile()))
    assert largest_difference(decoded, srgb_of(np.array(128 / 255))) <= 1


def test_integers_of_32_bits_are_clipped_to_16():
    levels = np.array([[-5, 255, 256, 32768, 65535, 65536, 10**9, 2**31 - 1]] * 8, np.int32)
    picture = decode(saved(Image.fromarray(levels), "TIFF"))
    assert picture.pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255, 255, 255, 255]
    assert picture.note == "32 bits per channel, clipped to 16"


@pytest.mark.parametrize("most", [1, 255])
def test_floating_point_is_a_share_or_a_level_and_clipped(most):
    values = np.array([[-1, 0, 0.25, 0.5, 1, np.nan, 0, 0]] * 8, np.float32) * most
    values[0, 7] = most
    picture = decode(saved(Image.fromarray(values), "TIFF"))
    assert picture.pixels[1, :, 0].tolist() == [0, 0, 64, 128, 255, 0, 0, 0]
    assert "floating point" in picture.note


@pytest.mark.parametrize("magic", [b"P2", b"P3", b"P5", b"P6"])
@pytest.mark.parametrize("most", [1, 100, 255, 1000, 4095, 65535])
def test_portable_anymaps_are_scaled_by_their_maximum(magic, most):
    random = np.random.default_rng(most)
    levels = random.integers(0, most + 1, (16, 12, 3) if magic in (b"P3", b"P6") else (16, 12))
    data = corpus.pnm(magic, levels, most)
    decoded = pixels(data)
    expected = levels * 255.0 / most
    if levels.ndim == 2:
        expected = grey(np.round(levels * 65535.0 / most) // 256 if most > 255 else expected)
    assert largest_difference(decoded, np.round(expected)) == 0
    assert bool(note(data)) == (most != 255)
