"""The countermeasures by name: what each does, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from ...settings import COUNTERMEASURES
from . import augment, filters


@dataclass(frozen=True)
class Countermeasure:
    """What an attacker does against the noise besides adversarial training: a filter, applied once; or an augmentation,
    at every step; or, with neither, a change of the training itself.
    """

    name: str
    label: str  # in the name of an attacker
    line: str  # what it does
    paper: str  # where it comes from
    filter: filters.Filter | None = None
    augment: augment.Augment | None = None


_SQUEEZE = "Liu et al., ICML 2023 (image shortcut squeezing)"
_FILTERED = "Fu et al., ICLR 2022; the SEM paper's Table 4"

_ALL = (
    Countermeasure("none", "", "nothing besides the augmentation of --views", ""),
    Countermeasure("mean", "mean filter", "each pixel the mean of its 3 × 3 neighbours", _FILTERED, filters.mean),
    Countermeasure(
        "median", "median filter", "each pixel the median of its 3 × 3 neighbours", _FILTERED, filters.median
    ),
    Countermeasure("gaussian", "Gaussian filter", "a window of 3 × 3, 1 2 1 either way", _FILTERED, filters.gaussian),
    Countermeasure("grey", "greyscale", "three equal channels, the luma of ITU-R BT.601", _SQUEEZE, filters.grey),
    Countermeasure("jpeg-10", "JPEG 10", "compressed as JPEG of quality 10, chroma halved", _SQUEEZE, filters.jpeg(10)),
    Countermeasure("jpeg-50", "JPEG 50", "compressed as JPEG of quality 50, chroma halved", _SQUEEZE, filters.jpeg(50)),
    Countermeasure("jpeg-75", "JPEG 75", "compressed as JPEG of quality 75, chroma halved", _SQUEEZE, filters.jpeg(75)),
    Countermeasure("bits-2", "2 bits", "two bits per channel", _SQUEEZE, filters.bits(2)),
    Countermeasure(
        "bits-4", "4 bits", "four bits per channel", "Xu et al., NDSS 2018 (feature squeezing)", filters.bits(4)
    ),
    Countermeasure("resize", "resized", "down to half and up again", "Guo et al., ICLR 2018", filters.resize),
    Countermeasure(
        "cutout", "cutout", "a grey square in every image", "DeVries and Taylor 2017", augment=augment.cutout
    ),
    Countermeasure(
        "mixup", "mixup", "images and labels blended in pairs", "Zhang et al., ICLR 2018", augment=augment.mixup
    ),
    Countermeasure(
        "cutmix", "cutmix", "a box of each image from another", "Yun et al., ICCV 2019", augment=augment.cutmix
    ),
    Countermeasure(
        "erasing", "random erasing", "a box of random pixels", "Zhong et al., AAAI 2020", augment=augment.erasing
    ),
    Countermeasure(
        "ueraser",
        "UEraser",
        "plasma brightness and contrast, shuffled channels; of five draws the one with the highest loss",
        "Qin et al. 2023 (UEraser-max, without its TrivialAugment)",
        augment=augment.ueraser,
    ),
    Countermeasure(
        "noise",
        "uniform noise",
        "uniform noise in ±8/255, new at every step",
        "Fowl et al. 2021",
        augment=augment.noise,
    ),
    Countermeasure(
        "early-stop",
        "early stopping",
        "a tenth held back for validation, with some clean images in it; stops when that no longer improves",
        "the SEM paper's Table 5",
    ),
)
BY_NAME = {each.name: each for each in _ALL}
assert tuple(BY_NAME) == COUNTERMEASURES
