"""How similar an original and its protected form are: L∞, PSNR, SSIM, on 8-bit pixels."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB

_SIGMA, _WINDOW = 1.5, 11  # pixels: the window of Wang et al. 2004
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def linf(clean: Pixels, protected: Pixels) -> int:
    """The largest change of a channel of a pixel, in grey levels."""
    return int(np.abs(clean.astype(np.int16) - protected).max())


def psnr(clean: Pixels, protected: Pixels) -> float:
    """Peak signal-to-noise ratio, in dB; infinite where nothing changed."""
    error = float(((clean.astype(np.float64) - protected) ** 2).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(clean: Pixels, protected: Pixels) -> float:
    """Mean structural similarity over pixels and channels, at most 1 (Wang et al. 2004, Eq. 13: a Gaussian window of 11
    pixels, σ 1.5).
    """
    a, b = clean.astype(np.float64), protected.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b, both = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2, _blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    return float((top / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))).mean())


def _blur(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(picture, (_WINDOW, _WINDOW), _SIGMA))
