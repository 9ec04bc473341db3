"""The transformation distribution T, batched: one file per family, each with draw, apply and adjoint."""

from ...config import ProtectConfig, VerifyConfig
from .crop_flip import CropFlip
from .resized_crop import ResizedCrop
from .view import View
from .whole import Whole

__all__ = ["CropFlip", "ResizedCrop", "View", "Whole", "make_view", "noise_view"]


def make_view(config: ProtectConfig | VerifyConfig, size: tuple[int, int]) -> tuple[View, tuple[int, int]]:
    """The view family of a config for images of `size` (height, width), and the size of what the network sees."""
    if config.views == "crop-flip":
        return CropFlip(config.pad), size
    return ResizedCrop(config.crop), (config.crop, config.crop)


def noise_view(view: View, config: ProtectConfig) -> View:
    """The views of the noise step: the model's, or none."""
    return view if config.noise_views == "same" else Whole(config.crop if config.views == "resized-crop" else 0)
