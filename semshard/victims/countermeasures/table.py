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
    cost: str = ""  # beside the same training without it; where it is empty, that of its kind

    @property
    def costs(self) -> str:
        """What it adds to the time of a training, in words."""
        return self.cost or (_ONCE if self.filter else _EACH_STEP if self.augment else "nothing")


_ONCE = "at most seconds per 10,000 small pictures"
_EACH_STEP = "some operations per pixel at every step"
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
        "grey+jpeg-10",
        "greyscale, then JPEG 10",
        "grey as grey does, then compressed as JPEG of quality 10",
        f"both of {_SQUEEZE}, one after the other",
        filters.stack(filters.grey, filters.jpeg(10)),
    ),
    Countermeasure(
        "jpeg-10+gaussian",
        "JPEG 10, then Gaussian filter",
        "compressed as JPEG of quality 10, then a window of 3 × 3, which smooths the edges of blocks, too",
        f"{_SQUEEZE}; then {_FILTERED}",
        filters.stack(filters.jpeg(10), filters.gaussian),
    ),
    Countermeasure(
        "normalise",
        "channels normalised",
        "each channel of a picture moved and stretched to mean 127.5 and standard deviation 64",
        "Coates et al., AISTATS 2011 (contrast normalisation, here by channel)",
        filters.normalise,
    ),
    Countermeasure(
        "equalise",
        "histograms equalised",
        "each channel of a picture with a flat histogram",
        "Cubuk et al., CVPR 2019 (Equalize of AutoAugment, which is by channel)",
        filters.equalise,
    ),
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
        cost="five more forward passes at every step",
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
        cost="a tenth of the training images; two passes over them at every test on the way",
    ),
)
BY_NAME = {each.name: each for each in _ALL}
assert tuple(BY_NAME) == COUNTERMEASURES
