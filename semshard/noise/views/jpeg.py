"""JPEG compression with a gradient (ISO/IEC 10918-1, baseline; Annex K's tables, libjpeg's quality scaling).

The way forward is libjpeg's own arithmetic on float tensors: its 16-bit colour constants, its accurate integer DCT
(Loeffler, Ligtenberg and Moschytz 1989) with 13-bit constants, its box average and triangle filter of the chroma,
rounding wherever it rounds. So whole grey levels become what libjpeg-turbo decodes to: every pixel in float64, all but
a few in a million in float32 (in full: TF32 products lack the bits).

The way back is the transpose of the same products. Only the rounding of the quantised coefficients loses much; there
the slope of Shin and Song (2017) replaces it, and every other rounding counts as the identity.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import SettingError
from .chroma import double, double_adjoint, halve, halve_adjoint
from .constants import constant
from .edges import extend, extend_adjoint, padded, whole

SUBSAMPLINGS = ("4:4:4", "4:2:0")
SLOPES = ("cubic", "straight")

# Annex K.1 at quality 50, row by row.
_LUMINANCE = """
    16  11  10  16  24  40  51  61    12  12  14  19  26  58  60  55
    14  13  16  24  40  57  69  56    14  17  22  29  51  87  80  62
    18  22  37  56  68 109 103  77    24  35  55  64  81 104 113  92
    49  64  78  87 103 121 120 101    72  92  95  98 112 100 103  99
"""
_CHROMINANCE = """
    17  18  24  47  99  99  99  99    18  21  26  66  99  99  99  99
    24  26  56  99  99  99  99  99    47  66  99  99  99  99  99  99
    99  99  99  99  99  99  99  99    99  99  99  99  99  99  99  99
    99  99  99  99  99  99  99  99    99  99  99  99  99  99  99  99
"""
_STEPS = tuple(int(step) for table in (_LUMINANCE, _CHROMINANCE) for step in table.split())
_TO_YCC = ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329))  # of 2¹⁶
_HALF = (0.5 - 128, 0.5 - 2**-16, 0.5 - 2**-16)  # rounds; halves of the chroma down, as libjpeg does
_TO_RGB = ((0, 91881), (-22554, -46802), (116130, 0))  # of 2¹⁶: what Cb and Cr add to the luma
# √8 · DCT, of 2¹³: the left half; the right one mirrors it, negated in odd rows. Where two entries that should be equal
# differ by one, libjpeg adds up constants that were rounded each.
_DCT = (
    (8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260),
    (10703, 4433, -4433, -10703),
    (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633),
    (4433, -10704, 10704, -4433),
    (2260, -6436, 9633, -11363),
)
_WHOLE_DCT = tuple(left + tuple((-1) ** row * entry for entry in reversed(left)) for row, left in enumerate(_DCT))


@dataclass(frozen=True)
class Coded:
    """What the gradient needs of planes (N, C, H, W) that were coded and decoded."""

    slope: Tensor | None  # of the rounding of each coefficient, (N, C, H, W) in whole blocks; None where all are 1
    decoded: Tensor  # (N, C, H, W): whole samples, before they were clamped


@dataclass(frozen=True)
class Saved:
    """What the gradient needs of the way forward."""

    luma: Coded
    chroma: Coded
    samples: Tensor  # (N, 3, H, W): whole samples of the pixels, before they were clamped


@dataclass(frozen=True)
class Jpeg:
    """Pictures after JPEG compression, with a gradient. Raises `SettingError` for values it does not know."""

    quality: Tensor | int  # 1..100; an int, or int64 (N,), one for each picture, clamped to 1..100 as libjpeg does
    subsampling: str  # "4:4:4" | "4:2:0"
    slope: str = "cubic"  # of round(c): 3·(c − round(c))² (Shin and Song 2017), or "straight": 1 (straight-through)

    def __post_init__(self) -> None:
        if isinstance(self.quality, int) and not 1 <= self.quality <= 100:
            raise SettingError(f"JPEG quality is 1 to 100, not {self.quality}")
        if self.subsampling not in SUBSAMPLINGS:
            raise SettingError(f"chroma subsampling is {' or '.join(SUBSAMPLINGS)}, not {self.subsampling!r}")
        if self.slope not in SLOPES:
            raise SettingError(f"the slope of rounding is {' or '.join(SLOPES)}, not {self.slope!r}")

    @torch.no_grad()
    def apply(self, images: Tensor) -> tuple[Tensor, Saved]:
        """The decoded pictures of float images (N, 3, H, W) in [0, 1], of the same shape, and what `adjoint` needs.

        255 · x is the sample value, whole or not; the decoded ones are whole. float32 or float64: narrower types
        cannot hold what libjpeg computes with.
        """
        return self.apply_to_samples(images * 255)

    @torch.no_grad()
    def apply_to_samples(self, images: Tensor) -> tuple[Tensor, Saved]:
        """`apply` for images in [0, 255]; what it gives is in [0, 1] all the same."""
        luma_table, chroma_table = self._tables(images)
        luma, chroma = _to_ycc(images)
        if self.subsampling == "4:2:0":
            chroma = halve(chroma)
        luma, coded_luma = self._code(luma, luma_table)
        chroma, coded_chroma = self._code(chroma, chroma_table)
        if self.subsampling == "4:2:0":
            chroma = double(chroma, *images.shape[2:])
        samples = _to_rgb(luma, chroma)
        return samples.clamp(0, 255).div_(255), Saved(coded_luma, coded_chroma, samples)

    @torch.no_grad()
    def adjoint(self, gradient: Tensor, saved: Saved) -> Tensor:
        """The gradient at the images, (N, 3, H, W), of a gradient at the decoded pictures."""
        luma, chroma = _to_rgb_adjoint(_unclamped(gradient, saved.samples, 0, 255))
        if self.subsampling == "4:2:0":
            chroma = double_adjoint(chroma, saved.chroma.decoded.shape[3])
        luma = _code_adjoint(luma, saved.luma)
        chroma = _code_adjoint(chroma, saved.chroma)
        if self.subsampling == "4:2:0":
            chroma = halve_adjoint(chroma, *gradient.shape[2:])
        return _to_ycc_adjoint(luma, chroma)

    def _tables(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The steps for luma and chroma, each (N or 1, 1, 8, 8) in the dtype of the images."""
        if isinstance(self.quality, int):
            make = _tables_of if images.device.type == "cpu" else _new_tables  # a captured graph has its own
            tables = make(self.quality, images.dtype, images.device)
        else:
            tables = quantisation_tables(self.quality.to(images.device)).to(images.dtype)
        return tables[:, :1], tables[:, 1:]

    def _code(self, planes: Tensor, table: Tensor) -> tuple[Tensor, Coded]:
        """Planes (N, C, H, W) of samples −128..127, coded with a table (N or 1, 1, 8, 8) and decoded."""
        height, width = planes.shape[2:]
        blocks = extend(planes, whole(height, 8), whole(width, 8))
        steps = table.repeat(1, 1, 1, blocks.shape[3] // 8)[:, :, None]  # (N or 1, 1, 1, 8, W)
        by_block = (*blocks.shape[:2], -1, 8, blocks.shape[3])
        exact = _dct(blocks).view(by_block).div_(8 * steps)  # (N, C, H/8, 8, W)
        levels = exact.sign().mul_(0.5).add_(exact).trunc_()  # halves away from zero
        slope = _slope(exact.sub_(levels), self.slope)
        decoded = _inverse_dct(levels.mul_(steps).flatten(2, 3))[..., :height, :width]
        return decoded.clamp(-128, 127), Coded(None if slope is None else slope.flatten(2, 3), decoded)


def quantisation_tables(quality: Tensor) -> Tensor:
    """libjpeg's tables for qualities int64 () or (N,): int64 (1 or N, 2, 8, 8), luminance and chrominance."""
    quality = quality.clamp(1, 100).view(-1, 1, 1, 1)
    percent = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return ((constant(_STEPS, quality).view(2, 8, 8) * percent + 50) // 100).clamp_(1, 255)


def _new_tables(quality: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Those of one quality, written by the device itself: a copy would make the host wait."""
    return quantisation_tables(torch.full((1,), quality, device=device)).to(dtype)


_tables_of = functools.cache(_new_tables)


def _unclamped(gradient: Tensor, decoded: Tensor, low: int, high: int) -> Tensor:
    """The gradient where decoded numbers, which are whole, lie within `low` and `high`, elsewhere 0. In one pass."""
    inside: Tensor = torch.ops.aten.hardtanh_backward(gradient, decoded, low - 0.5, high + 0.5)
    return inside


def _slope(residual: Tensor, kind: str) -> Tensor | None:
    """The substitute for the derivative of round(c), given c − round(c), which it may overwrite; None is 1."""
    return residual.square_().mul_(3) if kind == "cubic" else None


def _code_adjoint(gradient: Tensor, coded: Coded) -> Tensor:
    height, width = gradient.shape[2:]
    gradient = _unclamped(gradient, coded.decoded, -128, 127)
    gradient = padded(gradient, whole(height, 8), whole(width, 8), "constant")
    gradient = _inverse_dct_adjoint(gradient)  # the step that a coefficient is divided by, it is then multiplied by
    if coded.slope is not None:
        gradient *= coded.slope
    return extend_adjoint(_dct_adjoint(gradient), height, width)


# The DCT of every 8 × 8 block of planes whose sides are multiples of 8. libjpeg's is 8 times the standard's, and both
# directions keep two bits more between their two passes.


def _dct(planes: Tensor) -> Tensor:
    return _down(_across(planes, _matrix(planes, -11).mT).add_(0.5).floor_(), _matrix(planes, -15)).add_(0.5).floor_()


def _dct_adjoint(gradient: Tensor) -> Tensor:
    """Of the eighth of `_dct`: what quantisation sees."""
    return _across(_down(gradient, _matrix(gradient, -15).mT), _matrix(gradient, -14))


def _inverse_dct(planes: Tensor) -> Tensor:
    return _across(_down(planes, _matrix(planes, -11).mT).add_(0.5).floor_(), _matrix(planes, -18)).add_(0.5).floor_()


def _inverse_dct_adjoint(gradient: Tensor) -> Tensor:
    return _down(_across(gradient, _matrix(gradient, -18).mT), _matrix(gradient, -11))


def _matrix(like: Tensor, exponent: int) -> Tensor:
    """`_DCT` in full, times a power of two."""
    return constant(_WHOLE_DCT, like, 2.0**exponent)


def _across(planes: Tensor, matrix: Tensor) -> Tensor:
    """Every eight samples of a row, times a matrix (8, 8) on their right."""
    return (planes.reshape(-1, 8) @ matrix).view(planes.shape)


def _down(planes: Tensor, matrix: Tensor) -> Tensor:
    """Every eight samples of a column, times a matrix (8, 8) on their left."""
    return (matrix @ planes.reshape(-1, 8, planes.shape[3])).view(planes.shape)


# Colour. Planes of samples are 128 less than libjpeg stores them.


def _to_ycc(samples: Tensor) -> tuple[Tensor, Tensor]:
    """JFIF's luma (N, 1, H, W) and chroma (N, 2, H, W), rounded, of samples (N, 3, H, W) in [0, 255]."""
    planes = _mix(samples, _TO_YCC).add_(constant(_HALF, samples)[:, None, None]).floor_()
    return planes[:, :1], planes[:, 1:]


def _to_ycc_adjoint(luma: Tensor, chroma: Tensor) -> Tensor:
    return _mix(torch.cat((luma, chroma), 1), tuple(zip(*_TO_YCC, strict=True)))  # 255 is in `_to_rgb_adjoint`


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    return _mix(chroma, _TO_RGB).add_(0.5).floor_().add_(luma + 128)


def _to_rgb_adjoint(gradient: Tensor) -> tuple[Tensor, Tensor]:
    planes = _mix(gradient, ((65536,) * 3, *zip(*_TO_RGB, strict=True)))
    return planes[:, :1], planes[:, 1:]


def _mix(planes: Tensor, weights: tuple[tuple[int, ...], ...]) -> Tensor:
    """Each pixel's channels times a matrix of 65536ths."""
    return (constant(weights, planes, 2.0**-16) @ planes.flatten(2)).view(len(planes), len(weights), *planes.shape[2:])
