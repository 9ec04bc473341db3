"""The countermeasures by name: what each does, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ... import filters
from ...settings import COUNTERMEASURES, NO_ADVERSARY
from . import augment
from .strong import strong
from .ueraser_max import ueraser_max


@dataclass(frozen=True)
class Countermeasure:
    """What an attacker does against the noise besides adversarial training: a filter, applied once; or an augmentation,
    at every step; or with a network of his own that he trains before the victim; or a change of the training itself.
    """

    name: str
    label: str  # in the name of an attacker
    line: str  # what it does
    paper: str  # where it comes from
    filter: filters.Filter | None = None
    augment: augment.Augment | None = None
    learns: Literal["", "denoiser", "counter-noise"] = ""  # the network of his own
    own: float = 0.0  # share of the training images that he owns, clean, and does not take from the collection
    own_least: int = 0  # and at least so many, but no more than half
    unlabelled: bool = False  # learns features without labels, from two views of each image, then the last layer
    longer: int = 1  # it takes so many times the steps to show
    cost: str = ""  # beside the same training without it; where it is empty, that of its kind

    def own_share(self, images: int) -> float:
        """The share of so many training images that the attacker owns."""
        return max(self.own, min(0.5, self.own_least / max(1, images)))

    @property
    def changes_steps(self) -> bool:
        """Whether its training steps are others than those of a victim without it."""
        return self.augment is not None or self.unlabelled

    @property
    def one_size(self) -> bool:
        """Whether it needs images of one size."""
        return bool(self.learns)

    @property
    def costs(self) -> str:
        """What it adds to the time of a training, in words."""
        return self.cost or (_ONCE if self.filter else _EACH_STEP if self.augment else "nothing")


_ONCE = "at most seconds per 10,000 small pictures"
_EACH_STEP = "some operations per pixel at every step"
_SQUEEZE = "Liu et al., ICML 2023 (image shortcut squeezing)"
_FILTERED = "Fu et al., ICLR 2022; the SEM paper's Table 4"

ALL = (
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
    Countermeasure(
        "ueraser-max",
        "UEraser with TrivialAugment",
        "plasma brightness and contrast, shuffled channels, TrivialAugment; of five draws the one with the highest "
        "loss, for three times the steps",
        "Qin et al. 2023 (UEraser-max); Müller and Hutter, ICCV 2021",
        augment=ueraser_max,
        longer=3,
        cost="the time of three, and at every step five draws and forward passes",
    ),
    Countermeasure(
        "refit",
        "last layer refitted",
        "the last layer fitted anew on clean images of his own (1 % of the training images, 50 at least), by logistic "
        "regression",
        "Kirichenko et al., ICLR 2023 (last-layer retraining)",
        own=0.01,
        own_least=50,
        cost="seconds",
    ),
    Countermeasure(
        "denoise",
        "pair denoiser",
        "protects images of his own (a fifth of the training images) with this very tool, and trains a small residual "
        "network to undo that (L1)",
        "after Wang et al., NeurIPS 2025 (BridgePure, a diffusion bridge)",
        learns="denoiser",
        own=0.2,
        cost="once a surrogate's training, as in protect, and that of the network, in as many steps as a victim's",
    ),
    Countermeasure(
        "counter-noise",
        "counter-noise",
        "a two-layer network is trained adversarially on the images, noise that raises its loss is added to them, and "
        "the victim sees random parts of these, with changed colours",
        "Zhu et al., AAAI 2024 (SDA+AN)",
        augment=strong,
        learns="counter-noise",
        cost="once for originals, shards and control: that network's training, in as many steps as a victim's",
    ),
    Countermeasure(
        "simclr",
        "SimCLR with a linear probe",
        "features learned without the labels, from two random parts of each image, with changed colours, that should "
        "be alike; then the last layer fitted by logistic regression",
        "Chen et al., ICML 2020 (SimCLR, without its blur and its change of hue)",
        unlabelled=True,
        longer=3,
        cost="the time of three, with two images in place of one at every step; at every test a last layer is fitted",
    ),
)
assert tuple(each.name for each in ALL) == COUNTERMEASURES
assert tuple(each.name for each in ALL if each.unlabelled) == NO_ADVERSARY
