"""Every setting of a run, in two frozen dataclasses, and what is wrong with settings that do not go together.

Radii and step sizes are floats in units of the pixel range [0, 1].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from typing import Any

from ..errors import SettingError
from .radii import format_radius, levels
from .view_lists import GEOMETRY, normal

LARGE = 64  # pixels: a collection whose longer side is above this is treated like photographs
Size = tuple[int, int] | None  # (height, width) of every image; None for photographs, each of its own

# The grid of the paper's Table 7. Per method: what perturbs a view in the noise step, what perturbs it in the model
# step, and whose views the noise step takes.
CELLS = {
    "sem": ("random", "pgd", "same"),
    "rem": ("pgd", "pgd", "same"),
    "rem-u": ("pgd", "none", "same"),
    "rem-theta": ("none", "pgd", "same"),
    "em": ("none", "none", "none"),
}
ANY_CELL = "cell"  # the method's name where --noise-step and --model-step ask for a cell without one
METHODS = (*CELLS, ANY_CELL, "tap", "ntga", "sc")
CELL_SETTINGS = ("noise_step", "model_step", "noise_views")
NO_LIST = (("same",), ("none",))  # noise_views that are no list of their own
_INNER = ("none", "random", "pgd")
_ROUND_EVERY = (
    "Every so many training steps, and after the last, weights are rounded to 8 significant bits and momentum to 4, so "
    "that an unfinished training can be carried elsewhere in few bytes; 0: never."
)
KEEP = ("none", "icc", "all")  # of the metadata of a picture file
FORMATS = ("png", "jpeg", "webp")


NETWORKS = ("resnet18", "resnet50", "vgg16", "densenet121", "wrn34-10", "vit", "small")
STARTS = (
    "scratch",
    "probe",
    "full",
)  # of a victim: fresh weights; given ones with a new head only; given ones, all tuned

# What people do to pictures, or to a training, to get rid of noise. `semshard countermeasures` explains each.
COUNTERMEASURES = (
    "none", "mean", "median", "gaussian", "grey", "jpeg-10", "jpeg-50", "jpeg-75", "bits-2", "bits-4", "resize",
    "cutout", "mixup", "cutmix", "erasing", "ueraser", "noise", "early-stop",
)  # fmt: skip
ALL = "all"  # among choices of a list: every one


def setting(help: str, *, radius: bool = False, choices: tuple[str, ...] = ()) -> Any:
    """A field of a config that the command line turns into an option."""
    return dataclasses.field(metadata={"help": help, "radius": radius, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class ProtectConfig:
    """All that decides the bytes of a protected collection, besides the images themselves."""

    preset: str = setting("Where unset settings come from.", choices=("paper", "quick"))
    method: str = setting("Kind of defensive noise; `semshard methods` explains them.", choices=METHODS)
    noise_step: str = setting(
        "What perturbs a view in the noise step: with --model-step, any cell of Table 7.", choices=_INNER
    )
    model_step: str = setting("What perturbs a view in the model step.", choices=_INNER)
    noise_views: tuple[str, ...] = setting(
        "Views of the noise step: the same as the model's, none, or a list like that of --views."
    )
    network: str = setting("Surrogate network.", choices=NETWORKS)
    steps: int = setting("Training steps M of the surrogate.")
    batch: int = setting("Images a training step.")
    lr: float = setting("Learning rate of the surrogate.")
    lr_every: int = setting("The learning rate is divided by ten every so many steps.")
    momentum: float = setting("SGD momentum.")
    weight_decay: float = setting("SGD weight decay.")
    label_noise: float = setting(
        "Share of the surrogate's training images that get each other's labels, so that it learns noise, not pictures."
    )
    warm_up: float = setting(
        "Share of the surrogate's training over which rho_a and rho_r grow to their size; 0: they have it at once."
    )
    round_every: int = setting(_ROUND_EVERY)
    rho_u: float = setting("Radius of the defensive noise: the budget.", radius=True)
    steps_u: int = setting("PGD steps K_u of the defensive noise.")
    alpha_u: float = setting("PGD step size of the defensive noise; follows --rho-u.", radius=True)
    draws: int = setting("Draws J of view and random perturbation averaged in a noise step.")
    final_steps: int = setting("PGD steps K_u of the final noise, crafted with the trained surrogate.")
    final_alpha: float = setting("PGD step size of the final noise; follows --rho-u.", radius=True)
    final_draws: int = setting("Draws J of the final noise.")
    rho_r: float = setting("Radius of the random perturbation; follows --rho-a.", radius=True)
    rho_a: float = setting("Radius of the adversary that the noise shall withstand.", radius=True)
    steps_a: int = setting("PGD steps K_a of the adversary.")
    alpha_a: float = setting("PGD step size of the adversary; follows --rho-a.", radius=True)
    views: tuple[str, ...] = setting(
        "Transformation distribution T: paper, hardened, or families with probabilities, like crop-flip,grey=0.5; "
        "`semshard views` explains them."
    )
    pad: int = setting("Zero padding of crop-flip, in pixels.")
    crop: int = setting("Side of the resized crop, in pixels.")
    patch: int = setting("Side of a patch of shortcut noise (sc), in pixels.")
    resolution: int = setting("Resize the short side to this and crop the centre square; 0 keeps every pixel.")
    background: str = setting("Colour under transparent pixels: a name, or #rrggbb.")
    grey: str = setting(
        "Noise of a greyscale image: coloured like any other, or keep it grey, equal on the three channels.",
        choices=("colour", "keep"),
    )
    truncated: str = setting("What to do with a file that was cut short.", choices=("reject", "accept"))
    max_pixels: int = setting("Pixels of an image above which it counts as too large.")
    too_large: str = setting("What to do with an image above --max-pixels.", choices=("reject", "shrink"))
    duplicates: str = setting(
        "What to do with an image that has the pixels of an earlier one.", choices=("keep", "reject")
    )
    keep_metadata: str = setting(
        "What of a file's metadata is published: nothing, its ICC profile (then unconverted), or also EXIF and XMP.",
        choices=KEEP,
    )
    format: str = setting("File format of the published images; jpeg is not lossless.", choices=FORMATS)
    quality: int = setting("Quality of JPEG: of --format jpeg, and of --jpeg-safe.")
    jpeg_safe: bool = setting("Craft the noise through JPEG compression, so that it survives being recompressed.")
    groups: int = setting("Groups that --labels auto makes of images without labels; 0 where they have labels.")
    shard_size: int = setting("Samples a shard.")
    craft_batch: int = setting("Images crafted together; a batch never crosses a shard.")
    seed: int = setting("Seed of every random draw; choose your own. It is kept in the private ledger only.")
    precision: str = setting("Arithmetic inside the networks.", choices=("float32", "bfloat16"))

    def __post_init__(self) -> None:
        _check(self)

    def final(self) -> ProtectConfig:
        """The same settings with those of the final noise where a training step takes its own."""
        steps, alpha, draws = self.final_steps, self.final_alpha, self.final_draws
        return dataclasses.replace(self, steps_u=steps, alpha_u=alpha, draws=draws)

    def at_warmup_step(self, step: int) -> ProtectConfig:
        """The same settings with the radii that a step of the surrogate's training has, the first being 0."""
        share = min(1.0, (step + 1) / (self.warm_up * self.steps)) if self.warm_up else 1.0
        if share == 1:
            return self
        rho_a, alpha_a, rho_r = (share * value for value in (self.rho_a, self.alpha_a, self.rho_r))
        return dataclasses.replace(self, rho_a=rho_a, alpha_a=alpha_a, rho_r=rho_r)

    @property
    def geometry(self) -> str:
        """The family of --views that moves pixels."""
        return self.views[0]

    @property
    def families(self) -> tuple[str, ...]:
        """The other families of --views, each with its probability."""
        return self.views[1:]

    @property
    def noise_families(self) -> tuple[str, ...]:
        """Those of the noise step."""
        return self.families if self.noise_views == ("same",) else self.noise_views[1:]

    @property
    def has_surrogate(self) -> bool:
        """Whether the method trains a network."""
        return self.method not in ("ntga", "sc")


_SEVERAL = "repeat it, or separate by commas, for several."


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """All that decides how victims are trained and tested."""

    preset: str = setting("Where unset settings come from.", choices=("paper", "quick"))
    victim: tuple[str, ...] = setting(f"Victim network; {_SEVERAL}", choices=NETWORKS)
    rho_a: tuple[float, ...] = setting(
        f"Radius of adversarial training; 0 is standard training; {_SEVERAL}", radius=True
    )
    countermeasure: tuple[str, ...] = setting(
        "What the victim does against the noise; `semshard countermeasures` explains them, all tries all. verify, when "
        f"it is told none: none, grey and jpeg-10, each at radius 0, too; {_SEVERAL}",
        choices=COUNTERMEASURES,
    )
    start: tuple[str, ...] = setting(
        f"Where a victim's weights start: scratch, or with --weights a linear probe or full fine-tuning; {_SEVERAL}",
        choices=STARTS,
    )
    protected_fraction: tuple[float, ...] = setting(
        f"Share of the training images that is protected; the others are clean; {_SEVERAL}"
    )
    seeds: int = setting("Trainings of every victim, each with a seed of its own: --seed and those after it.")
    steps: int = setting("Training steps of a victim.")
    batch: int = setting("Images a training step.")
    lr: float = setting("Learning rate of a victim.")
    lr_every: int = setting("The learning rate is divided by ten every so many steps.")
    momentum: float = setting("SGD momentum.")
    weight_decay: float = setting("SGD weight decay.")
    round_every: int = setting(_ROUND_EVERY)
    steps_a: int = setting("PGD steps of the adversary.")
    step_share: float = setting("PGD step size of the adversary, as a share of its radius.")
    tune_lr: float = setting("Learning rate of fine-tuning, for probe and full.")
    patience: tuple[int, ...] = setting(
        f"Patience of early stopping (countermeasure early-stop), in training steps; {_SEVERAL}"
    )
    clean_share: tuple[float, ...] = setting(
        f"Share of clean images in the validation set of early stopping; {_SEVERAL}"
    )
    views: str = setting("Training augmentation.", choices=GEOMETRY)
    pad: int = setting("Zero padding of crop-flip, in pixels.")
    crop: int = setting("Side of the resized crop, in pixels.")
    holdout: float = setting("Share of the samples held out of every training, chosen by a hash of the key.")
    max_samples: int = setting("Use at most this many samples, chosen by a hash of the key; 0 uses all.")
    evaluations: int = setting("How often the test accuracy is taken during a training.")
    seed: int = setting("First seed of initial weights, batches and views, and that of the control noise.")
    precision: str = setting("Arithmetic inside the networks.", choices=("float32", "bfloat16"))

    def __post_init__(self) -> None:
        _check(self)

    @property
    def geometry(self) -> str:
        """The family of views."""
        return self.views


def cell_of(noise_step: str, model_step: str, noise_views: tuple[str, ...]) -> tuple[str, str, str]:
    """The cell of Table 7, which tells whether the noise step has views, not which."""
    return noise_step, model_step, "none" if noise_views == ("none",) else "same"


# What makes an attacker more than a network and a radius: only verify has several of them.
COUNTERED = ("countermeasure", "start", "protected_fraction", "seeds", "tune_lr", "patience", "clean_share")

_AT_LEAST_ONE = (
    "steps", "batch", "lr_every", "steps_u", "draws", "final_steps", "final_draws", "patch", "shard_size",
    "craft_batch", "evaluations", "seeds", "patience", "quality", "max_pixels",
)  # fmt: skip
_AT_LEAST_ZERO = (
    "round_every",
    "pad",
    "crop",
    "groups",
    "resolution",
    "seed",
    "momentum",
    "weight_decay",
    "max_samples",
    "steps_a",
    "lr",
    "tune_lr",
)


def _check_views(config: ProtectConfig) -> None:
    lists = [config.views] if config.noise_views in NO_LIST else [config.views, config.noise_views]
    for views in lists:
        if views != normal(views, GEOMETRY[0]):
            raise SettingError(f"views = {','.join(views)}: the crop comes first, then families like grey=0.5")
    if lists[-1][0] != config.geometry:
        raise SettingError(f"noise_views = {','.join(lists[-1])}: its crop is not {config.geometry}, that of the views")


def _check(config: ProtectConfig | VerifyConfig) -> None:
    for f in fields(config):
        value = getattr(config, f.name)
        several = value if isinstance(value, tuple) else (value,)
        if not several:
            raise SettingError(f"{f.name} is empty")
        for one in several:
            if f.metadata["choices"] and one not in f.metadata["choices"]:
                raise SettingError(f"{f.name} = {one!r} is unknown; choose one of: {', '.join(f.metadata['choices'])}")
        for low, names in ((1, _AT_LEAST_ONE), (0, _AT_LEAST_ZERO)):
            if f.name in names and min(several) < low:
                raise SettingError(f"{f.name} = {min(several)} must be at least {low}")
    if config.geometry == "resized-crop" and config.crop < 8:
        raise SettingError(f"crop = {config.crop} must be at least 8 pixels with resized-crop views")
    if isinstance(config, ProtectConfig):
        _check_views(config)
        cell = cell_of(config.noise_step, config.model_step, config.noise_views)
        named = CELLS.get(config.method, cell if config.method == ANY_CELL else ("none", "none", "same"))
        if cell != named:
            words = " ".join(
                f"--{name.replace('_', '-')} {value}" for name, value in zip(CELL_SETTINGS, named, strict=True)
            )
            raise SettingError(f"method {config.method} is {words}; leave --method out to ask for another cell")
        if levels(config.rho_u) < 1:
            raise SettingError(f"rho_u = {format_radius(config.rho_u)} is below one grey level (1/255)")
        for name in ("label_noise", "warm_up"):
            if not 0 <= getattr(config, name) <= 1:
                raise SettingError(f"{name} = {getattr(config, name)} must lie in [0, 1]")
        if config.max_pixels > 1 << 28:
            raise SettingError(f"max_pixels = {config.max_pixels} is above {1 << 28}, the most that can be published")
        if config.quality > 100:
            raise SettingError(f"quality = {config.quality} is above 100")
        if config.groups == 1:
            raise SettingError("groups = 1 tells nothing apart; give at least 2")
        if config.keep_metadata != "none" and config.resolution:
            raise SettingError("keep_metadata is for photographs at their own resolution; leave --resolution out")
        if config.shard_size > 100_000:
            raise SettingError(f"shard_size = {config.shard_size} is above 100000, the most a key can count")
    else:
        if not 0 < min(config.protected_fraction) <= max(config.protected_fraction) <= 1:
            raise SettingError(f"protected_fraction = {config.protected_fraction} must lie in (0, 1]")
        if not 0 <= min(config.clean_share) <= max(config.clean_share) <= 1:
            raise SettingError(f"clean_share = {config.clean_share} must lie in [0, 1]")
        if not 0 < config.holdout < 1:
            raise SettingError(f"holdout = {config.holdout} must lie between 0 and 1")
        if not 0 < config.step_share <= 1:
            raise SettingError(f"step_share = {config.step_share} must lie in (0, 1]")
