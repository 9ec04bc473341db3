"""The transformation distribution T, batched: one file per family, each with draw, apply and adjoint."""

from ...config import ProtectConfig, Size, VerifyConfig
from ...errors import SettingError
from .crop_flip import CropFlip
from .jpeg import Jpeg
from .recompressed import Recompressed
from .resized_crop import ResizedCrop
from .view import View
from .whole import Whole

__all__ = ["CropFlip", "ResizedCrop", "View", "Whole", "make_view", "noise_view"]


def make_view(config: ProtectConfig | VerifyConfig, size: Size) -> tuple[View, tuple[int, int]]:
    """The view family of a config for images of `size`, and the size of what the network sees.

    Raises `SettingError` where the family wants images of one size.
    """
    view: View
    if config.views == "crop-flip":
        if size is None:
            raise SettingError("crop-flip views want images of one size; give --resolution N, or --views resized-crop")
        view, seen = CropFlip(config.pad), size
    else:
        view, seen = ResizedCrop(config.crop), (config.crop, config.crop)
    if isinstance(config, ProtectConfig) and config.jpeg_safe:
        view = Recompressed(view, Jpeg(config.quality, "4:2:0"))
    return view, seen


def noise_view(view: View, config: ProtectConfig) -> View:
    """The views of the noise step: the model's, or none."""
    if config.noise_views == "same":
        return view
    whole = Whole(config.crop if config.views == "resized-crop" else 0)
    return Recompressed(whole, Jpeg(config.quality, "4:2:0")) if config.jpeg_safe else whole
