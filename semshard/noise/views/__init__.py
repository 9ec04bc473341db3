"""The transformation distribution T, batched: one file per family, each with draw, apply and adjoint."""

from ...errors import SettingError
from ...settings import ProtectConfig, Size, VerifyConfig, parse_view
from .bits import Bits
from .composed import Composed
from .compressed import Compressed
from .crop_flip import CropFlip
from .cutout import Cutout
from .families import Families, Family
from .grey import Grey
from .jitter import Jitter
from .low_pass import Blur, Resize
from .resized_crop import ResizedCrop
from .view import View
from .whole import Whole

__all__ = [
    "CropFlip",
    "Cutout",
    "Families",
    "Family",
    "ResizedCrop",
    "View",
    "Whole",
    "after_crop",
    "before_crop",
    "families_of",
    "make_view",
    "noise_view",
]

_FAMILIES: dict[str, Family] = {
    "grey": Grey(),
    "blur": Blur(),
    "resize": Resize(),
    "jpeg": Compressed(),
    "bits": Bits(),
    "jitter": Jitter(),
    "cutout": Cutout(),
}


def make_view(config: ProtectConfig | VerifyConfig, size: Size) -> tuple[View, tuple[int, int]]:
    """The view family of a config for images of `size`, and the size of what the network sees.

    Raises `SettingError` where the family needs images of one size.
    """
    seen = (config.crop, config.crop) if config.geometry == "resized-crop" else size
    if seen is None:
        raise SettingError("crop-flip views need images of one size; give --resolution N, or --views resized-crop")
    if isinstance(config, ProtectConfig):
        return _recompressed(_view(config, config.families), config), seen
    return _crop(config), seen


def noise_view(view: View, config: ProtectConfig) -> View:
    """The views of the noise step: the model's, others, or none. What it is given is a view where views come first."""
    if config.noise_views == ("same",):
        return view
    if config.views_first:
        return _recompressed(Whole(), config)
    if config.noise_views == ("none",):
        return _recompressed(Whole(config.crop if config.geometry == "resized-crop" else 0), config)
    return _recompressed(_view(config, config.noise_families), config)


def families_of(items: tuple[str, ...]) -> Families:
    """The view that a list of families, like grey=0.5, describes, without the crop."""
    parsed = [parse_view(item) for item in items]
    return Families(tuple((_FAMILIES[name], share) for name, share in parsed))


_FILTERS = ("blur", "resize", "jpeg", "bits")  # what is done to a collection of photographs, and shows at their size


def before_crop(items: tuple[str, ...]) -> Families:
    """The families of a list that photographs go through at their own resolution, in their order."""
    return families_of(tuple(item for item in items if parse_view(item)[0] in _FILTERS))


def after_crop(items: tuple[str, ...]) -> Families:
    """The others, which are the same, and far less work, on what the network sees: augmentations, and greyscale, which
    commutes with a crop.
    """
    return families_of(tuple(item for item in items if parse_view(item)[0] not in _FILTERS))


def _crop(config: ProtectConfig | VerifyConfig) -> View:
    return CropFlip(config.pad) if config.geometry == "crop-flip" else ResizedCrop(config.crop)


def _view(config: ProtectConfig, items: tuple[str, ...]) -> View:
    """Families are applied before the crop, as an attacker filters a collection before training on it; to photographs
    some of them after it, where that is the same.
    """
    view = _crop(config)
    if config.geometry == "crop-flip":
        before, after = families_of(items), Families(())
    else:
        before, after = before_crop(items), after_crop(items)
    if after.members:
        view = Composed(view, after, config.crop)
    return Composed(before, view) if before.members else view


def _recompressed(view: View, config: ProtectConfig) -> View:
    """`view` of an image that a site has recompressed after the upload."""
    if not config.jpeg_safe:
        return view
    return Composed(Families(((Compressed(config.quality), 1.0),)), view)
