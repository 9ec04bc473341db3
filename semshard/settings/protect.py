"""Every setting of a protection, in one frozen dataclass, and what is wrong with settings that do not go together.

Radii and step sizes are floats in units of the pixel range [0, 1].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial

from ..errors import SettingError
from .fields import check_fields, defaults, names_where, setting
from .method import Method, method_plugin
from .names import (
    ANY_CELL,
    CELL_SETTINGS,
    CELLS,
    CLEAN_SURROGATE,
    FORMATS,
    KEEP,
    METHODS,
    MOST_SEED,
    NETWORKS,
    NO_LIST,
    NO_NETWORK,
    OUTSIDE_GRID,
    PERTURBATIONS,
    PRECISIONS,
    PRESETS,
    RESERVATIONS,
    cell_of,
)
from .radii import format_radius, levels
from .view_lists import GEOMETRY, normal

MOST_PIXELS = 1 << 28  # of an image that can be published
MOST_IN_SHARD = 100_000  # samples; a key counts no further
MOST_LEVELS = 127  # of the budget: noise is kept as int8

ROUND_EVERY_HELP = (
    "Every so many training steps and after the last, round weights to 8 significant bits and momentum to 4, so that "
    "an unfinished training can be moved to another machine in few bytes; 0: never."
)

# What settings of one kind have in common.
_trained = partial(setting, trains_surrogate=True)
_grid = partial(_trained, group="noise", unused_by=OUTSIDE_GRID)  # both steps of the paper's Algorithm 1
NO_NOISE_YET = tuple(dict.fromkeys((*CLEAN_SURROGATE, *OUTSIDE_GRID)))  # methods without noise in the training
_training_noise = partial(_trained, group="noise", unused_by=NO_NOISE_YET)
_surrogate = partial(_trained, group="surrogate", unused_by=NO_NETWORK)
_crafting = partial(setting, group="crafting")
_picture = partial(setting, group="pictures", sweepable=False)


@dataclass(frozen=True, kw_only=True)
class ProtectConfig:
    """All that decides the bytes of a protected collection, besides the images themselves."""

    preset: str = setting(
        "Where settings that are not given come from.", group="run", common=True, choices=PRESETS, sweepable=False
    )
    method: str = _trained(
        "Kind of noise: see `semshard methods`.", group="noise", common=True, choices=METHODS, plugins="methods"
    )
    noise_step: str = _grid(
        "What perturbs a view in the noise step; together with --model-step, any cell of Table 7.",
        choices=PERTURBATIONS,
    )
    model_step: str = _grid("What perturbs a view in the model step.", choices=PERTURBATIONS)
    noise_views: tuple[str, ...] = _grid(
        "Views of the noise step: same (as in the model step), none, a list like that of --views, or first: the noise "
        "is made on a view and added behind it, and what was made on a random view is added to the image."
    )
    network: str = _surrogate("Surrogate network.", choices=NETWORKS)
    steps: int = _surrogate("Training steps M of the surrogate.", at_least=1)
    batch: int = _surrogate("Images per training step.", at_least=1)
    lr: float = _surrogate("Learning rate of the surrogate.", at_least=0)
    lr_every: int = _surrogate("The learning rate is divided by ten after every so many steps.", at_least=1)
    momentum: float = _surrogate("SGD momentum.", at_least=0)
    weight_decay: float = _surrogate("SGD weight decay.", at_least=0)
    label_noise: float = _surrogate(
        "Share of the surrogate's training images whose labels are shuffled among them, so that it learns noise, not "
        "pictures.",
        default=0.0, at_least=0, at_most=1, unused_by=NO_NOISE_YET,
    )  # fmt: skip
    warm_up: float = _surrogate(
        "Share of the surrogate's training over which rho_a and rho_r grow to their full size; 0: full size from the "
        "first step.",
        default=0.0, at_least=0, at_most=1, unused_by=OUTSIDE_GRID,
    )  # fmt: skip
    pool: int = _surrogate(
        "Train the surrogate on so many images, drawn by the seed, each of which keeps its noise from one visit to the "
        "next, and its shuffled label; 0: on all, with new noise at every visit.",
        default=0, at_least=0, unused_by=NO_NOISE_YET,
    )  # fmt: skip
    push_steps: int = _surrogate(
        "Training steps of a second network, trained adversarially on the clean images, from whose classes the noise "
        "is also pushed away; 0: none.",
        default=0, at_least=0, unused_by=NO_NOISE_YET,
    )  # fmt: skip
    round_every: int = _surrogate(ROUND_EVERY_HELP, default=0, at_least=0)
    rho_u: float = _trained(
        "Radius of the defensive noise: the budget.", group="noise", common=True, radius=True, may_differ=True
    )
    steps_u: int = _training_noise("PGD steps K_u of the defensive noise.", at_least=1)
    alpha_u: float = _training_noise(
        "PGD step size of the defensive noise; follows --rho-u.", radius=True, follows="rho_u", above=0
    )
    draws: int = _training_noise("Draws J of view and random perturbation averaged in a noise step.", at_least=1)
    final_steps: int = _crafting(
        "PGD steps K_u of the final noise, crafted with the trained surrogate.", at_least=1, unused_by=("sc",)
    )
    final_alpha: float = _crafting(
        "PGD step size of the final noise; follows --rho-u.", radius=True, follows="rho_u", above=0, unused_by=("sc",)
    )
    final_draws: int = _crafting("Draws J of the final noise.", at_least=1, unused_by=NO_NETWORK)
    final_views: tuple[str, ...] = _crafting(
        "Views of the final noise: same (those of the noise step), or a list like that of --views.",
        default=("same",), unused_by=NO_NETWORK,
    )  # fmt: skip
    rho_r: float = _grid("Radius of the random perturbation; follows --rho-a.", radius=True, follows="rho_a")
    rho_a: float = _grid("Radius of the adversary that the noise should withstand.", common=True, radius=True)
    steps_a: int = _grid("PGD steps K_a of the adversary.", at_least=0)
    alpha_a: float = _grid("PGD step size of the adversary; follows --rho-a.", radius=True, follows="rho_a")
    views: tuple[str, ...] = _trained(
        "Transformation distribution T: paper, hardened, or families with probabilities, like crop-flip,grey=0.5; "
        "`semshard views` explains them.",
        group="noise", common=True, unused_by=NO_NETWORK,
    )  # fmt: skip
    pad: int = _trained("Zero padding of crop-flip, in pixels.", group="noise", at_least=0, unused_by=NO_NETWORK)
    crop: int = _trained("Side of the resized crop, in pixels.", group="noise", at_least=0, unused_by=NO_NETWORK)
    patch: int = setting(
        "Side of a patch of shortcut noise (sc), in pixels.",
        group="noise", at_least=1, unused_by=tuple(method for method in METHODS if method != "sc"),
    )  # fmt: skip
    resolution: int = _picture(
        "Resize the short side to this and crop the centre square; 0 keeps every pixel.",
        default=0, at_least=0, trains_surrogate=True, may_differ=True,
    )  # fmt: skip
    background: str = _picture("Colour under transparent pixels: a name, or #rrggbb.", default="white")
    grey: str = _picture(
        "Noise of a greyscale image: colour, as of any other image, or keep: grey, equal on the three channels.",
        default="colour", choices=("colour", "keep"),
    )  # fmt: skip
    truncated: str = _picture("What to do with a truncated file.", default="reject", choices=("reject", "accept"))
    max_pixels: int = _picture(
        "Number of pixels above which an image counts as too large.",
        default=178_956_970, at_least=1, at_most=MOST_PIXELS,
    )  # fmt: skip
    too_large: str = _picture(
        "What to do with an image above --max-pixels.", default="reject", choices=("reject", "shrink")
    )
    duplicates: str = _picture(
        "What to do with an image that has the same pixels as an earlier one.",
        default="keep", choices=("keep", "reject"),
    )  # fmt: skip
    keep_metadata: str = _picture(
        "Metadata to publish: none; icc: the ICC profile (colours are then not converted); rights: creator, copyright "
        "notice, licence, credit and data-mining statement; all: profile, EXIF and XMP without places and serial "
        "numbers.",
        default="none", choices=KEEP,
    )  # fmt: skip
    with_location: bool = _picture(
        "With --keep-metadata all, also publish GPS, other location fields and serial numbers.", default=False
    )
    reserve: str = _picture(
        "State in every published image that data mining is prohibited: none says nothing; ai-training; generative-ai; "
        "all: any data mining. A legal statement of the owner (plus:DataMining in XMP), not a barrier.",
        default="none", choices=tuple(RESERVATIONS),
    )  # fmt: skip
    format: str = _picture("File format of the published images; jpeg is not lossless.", default="png", choices=FORMATS)
    quality: int = _picture(
        "Quality of JPEG: of --format jpeg, and of --jpeg-safe.",
        default=95, at_least=1, at_most=100, trains_surrogate=True,
    )  # fmt: skip
    jpeg_safe: bool = _picture(
        "Craft the noise through JPEG compression, so that it survives being recompressed.",
        default=False, trains_surrogate=True,
    )  # fmt: skip
    groups: int = _picture(
        "Number of groups that --labels auto makes of images without labels; 0 where they have labels.",
        default=0, at_least=0,
    )  # fmt: skip
    shard_size: int = setting("Samples per shard.", group="output", default=1000, at_least=1, at_most=MOST_IN_SHARD)
    craft_batch: int = _crafting("Images crafted together; a batch never crosses a shard.", at_least=1)
    seed: int = _trained(
        "Seed of every random draw; choose your own. It is kept in the private ledger only.",
        group="run", common=True, default=0, at_least=0, at_most=MOST_SEED, may_differ=True,
    )  # fmt: skip
    precision: str = _trained(
        "Arithmetic inside the networks.", group="computing", choices=PRECISIONS, may_differ=True, sweepable=False
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.geometry == "resized-crop" and self.crop < 8:
            raise SettingError(f"crop = {self.crop} must be at least 8 pixels with resized-crop views")
        _check_views(self)
        _check_method(self)
        if levels(self.rho_u) < 1:
            raise SettingError(f"rho_u = {format_radius(self.rho_u)} is below one grey level (1/255)")
        if levels(self.rho_u) > MOST_LEVELS:
            raise SettingError(f"rho_u = {format_radius(self.rho_u)} is above {MOST_LEVELS}/255")
        if self.clean_surrogate and (self.pool or self.push_steps):
            name = "pool" if self.pool else "push_steps"
            raise SettingError(f"{name}: method {self.method} trains one network, on clean images; leave it out")
        if self.pool and self.views_first:
            raise SettingError("pool: where noise is made on views, images have none to keep")
        if self.groups == 1:
            raise SettingError("groups = 1 separates nothing; give at least 2")
        if self.keep_metadata in ("icc", "all") and self.resolution:
            what = f"keep_metadata {self.keep_metadata}"
            raise SettingError(f"{what} is for photographs at their own resolution; leave --resolution out")
        if self.with_location and self.keep_metadata != "all":
            raise SettingError("with_location is for --keep-metadata all, which alone publishes places")

    def final(self) -> ProtectConfig:
        """The same settings with those of the final noise where a training step takes its own."""
        steps, alpha, draws = self.final_steps, self.final_alpha, self.final_draws
        views = self.noise_views if self.final_views == ("same",) else self.final_views
        return dataclasses.replace(
            self, steps_u=steps, alpha_u=alpha, draws=draws, noise_views=views, final_views=("same",)
        )

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
    def views_first(self) -> bool:
        """Whether the noise is made on views, instead of on images of which views are taken."""
        return self.noise_views == ("first",)

    @property
    def schedule(self) -> str:
        """Of the learning rate, as in the paper; only victims have a choice."""
        return "step"

    @property
    def nesterov(self) -> bool:
        """Of the momentum, as in the paper; only victims have a choice."""
        return False

    @property
    def clean_surrogate(self) -> bool:
        """Whether the network learns from clean images."""
        return self.method in CLEAN_SURROGATE

    @property
    def has_surrogate(self) -> bool:
        """Whether the method trains a network."""
        added = method_plugin(self.method)
        return added.load(Method).surrogate if added else self.method not in NO_NETWORK


# How pictures are read and written, whatever the preset.
PICTURES = defaults(ProtectConfig, group="pictures")
# What the training of a surrogate depends on; and of that, what a given surrogate must have been trained with.
SHAPES_SURROGATE = names_where(ProtectConfig, trains_surrogate=True)
TRAINED_WITH = names_where(ProtectConfig, trains_surrogate=True, may_differ=False)
# What all values of a sweep share: collection and victims are made with it.
FIXED_IN_SWEEP = names_where(ProtectConfig, sweepable=False)


def _check_views(config: ProtectConfig) -> None:
    lists = [config.views, *(each for each in (config.noise_views, config.final_views) if each not in NO_LIST)]
    for views in lists:
        if views != normal(views, GEOMETRY[0]):
            raise SettingError(f"views = {','.join(views)}: the crop comes first, then families like grey=0.5")
        if views[0] != config.geometry:
            raise SettingError(f"noise_views = {','.join(views)}: its crop is not {config.geometry}, that of the views")


def _check_method(config: ProtectConfig) -> None:
    """A method with a name has the steps of its cell; one outside the grid has those that stand for none; one of a
    plugin has any.
    """
    cell = cell_of(config.noise_step, config.model_step, config.noise_views)
    if config.method not in METHODS:
        return
    named = CELLS.get(config.method, cell if config.method == ANY_CELL else ("none", "none", "same"))
    if cell != named:
        options = " ".join(
            f"--{name.replace('_', '-')} {value}" for name, value in zip(CELL_SETTINGS, named, strict=True)
        )
        raise SettingError(f"method {config.method} is {options}; leave --method out to ask for another cell")
