"""Colours of any picture to 8-bit sRGB: samples of other kinds and widths, colour profiles (ICC.1), transparency.

Pillow alone would ignore the profiles and the background, and clip what has more than 8 bits. In the order of use:
`split` gives the colours in 8 bits and the opacity, `profile_of` and `to_rgb` convert with Little CMS by perceptual
intent, `composited` puts the result on the background.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageFile

from .image_metadata import fits
from .untrusted import one_line

MOST_PROFILE = 1 << 24  # bytes; the largest CMYK profiles have a few million
NEAR = 2  # levels of 255 that a profile may differ from sRGB and still be it


def samples(image: ImageFile.ImageFile) -> tuple[str, int]:
    """Pillow's name for how samples lie in the file, "" where it has none, and the largest of them in a PNM."""
    codec, _, _, arguments = image.tile[0] if image.tile else ("", None, 0, "")
    if codec in ("ppm", "ppm_plain") and isinstance(arguments, tuple):
        return "", int(arguments[1])
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments), 255


def split(image: Image.Image, raw: str, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """The colours (mode L, RGB or CMYK) and the opacity (mode L), if the file has one."""
    key = image.info.get("transparency")  # a colour, or for a palette the opacity of each
    if image.mode.startswith("I") or image.mode == "F":
        return _high_bits(image, raw, key, notes)
    if ";16" in raw and image.format != "BMP":  # there it is 16 bits a pixel
        notes.append("16 bits per channel")
        if image.mode == "RGB" and key is not None:
            image.info["transparency"] = tuple(level >> 8 for level in key)
    if image.mode == "CMYK":
        notes.append("CMYK")
        return ImageChops.invert(image) if image.format == "JPEG" and "adobe" not in image.info else image, None
    if image.mode == "L" and key is not None and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)  # Pillow scales the pixels only
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or key is not None:
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        grey = image.mode in ("1", "L", "LA", "La") or raw.startswith("LA;")
        return layer.getchannel("R") if grey else layer.convert("RGB"), layer.getchannel("A")
    if image.mode in ("L", "RGB"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _high_bits(image: Image.Image, raw: str, key: object, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """Greyscale of more than 8 bits as mode L, and its opacity where one level is transparent."""
    wide = np.asarray(image)
    if image.mode == "F":
        wide = np.nan_to_num(wide, posinf=255, neginf=0)
        unit = bool(wide.max() <= 1)
        notes.append("floating point from 0 to 1" if unit else "floating point, clipped to 0 to 255")
        narrow = (wide * (255 if unit else 1)).clip(0, 255).round()
    else:
        if raw:
            notes.append("32 bits per channel, clipped to 16" if raw.startswith("I;32") else "16 bits per channel")
        narrow = wide.clip(0, 65535) >> (4 if raw == "I;12" else 8)
    opacity = Image.fromarray(np.where(wide == key, 0, 255).astype(np.uint8)) if isinstance(key, int) else None
    return Image.fromarray(narrow.astype(np.uint8)), opacity


class Profile(NamedTuple):
    name: str
    mode: str  # of the pixels it describes: RGB, L or CMYK
    to_srgb: ImageCms.ImageCmsTransform | None  # None where it is sRGB
    grey: list[int]  # the level that each level of grey becomes, on all three channels


def profile_of(image: Image.Image, mode: str, keep: bool, notes: list[str]) -> tuple[Profile | None, bytes]:
    """The profile to convert colours of that mode from; or the bytes of the one to keep, if it is for RGB and fits."""
    if "icc_profile" not in image.info:
        return None, b""
    icc = image.info["icc_profile"]  # None where Pillow could not put it together
    profile = _profile(icc) if isinstance(icc, bytes) and len(icc) <= MOST_PROFILE else None
    if profile is None or (profile.mode != mode and (mode, profile.mode) != ("L", "RGB")):
        notes.append("unusable colour profile ignored")
        return None, b""
    if keep and profile.mode == "RGB" and fits("ICC profile", icc, notes):
        return None, icc
    return profile, b""


@lru_cache(maxsize=8)
def _profile(icc: bytes) -> Profile | None:
    """None where Little CMS cannot convert from it. Building a conversion costs more than using it on a small image."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip()]
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        exactly = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE  # dark greys would be far off
        to_srgb = ImageCms.buildTransform(profile, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL, exactly)
        name = one_line(ImageCms.getProfileDescription(profile), 40) or "without a name"
        if mode == "CMYK":
            return Profile(name, mode, to_srgb, [])
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert(mode)
        grey = np.asarray(to_srgb.apply(ramp))[0, :, 1]
        levels = np.arange(0, 256, 17, dtype=np.uint8)
        cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, len(levels), 3)
        probe = Image.fromarray(cube) if mode == "RGB" else ramp
        change = np.asarray(to_srgb.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
        return Profile(name, mode, to_srgb if abs(change).max() > NEAR else None, grey.tolist())
    except Exception:
        return None


def to_rgb(colour: Image.Image, profile: Profile | None, notes: list[str]) -> Image.Image:
    """Colours of mode L, RGB or CMYK as RGB, by their profile or plainly. Grey stays exactly grey."""
    if profile is not None and profile.to_srgb is not None:
        colour = colour.point(profile.grey) if colour.mode == "L" else profile.to_srgb.apply(colour)
        notes.append(f"converted from the profile {profile.name}")
    return colour if colour.mode == "RGB" else colour.convert("RGB")


def composited(
    colour: Image.Image, alpha: Image.Image | None, background: tuple[int, int, int], notes: list[str]
) -> Image.Image:
    """RGB colours on the background where their opacity (mode L) is below 255."""
    if alpha is None or cast(tuple[int, int], alpha.getextrema())[0] == 255:
        return colour
    notes.append("alpha composited on #{:02x}{:02x}{:02x}".format(*background))
    return Image.composite(colour, Image.new("RGB", colour.size, background), alpha)
