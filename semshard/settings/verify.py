"""Every setting of the victims that a verification trains, in one frozen dataclass.

Radii are floats in units of the pixel range [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ..errors import SettingError
from .attacker_sets import SETS, Pair, pairs
from .fields import check_fields, names_where, setting
from .names import COUNTERMEASURES, LISTED, MOST_SEED, NETWORKS, PRECISIONS, PRESETS, SCHEDULES, STARTS
from .protect import ROUND_EVERY_HELP
from .view_lists import GEOMETRY

# What settings of one kind have in common.
_attacker = partial(setting, group="attackers")
_verify_only = partial(_attacker, not_for=("study", "table"))  # studies and tables have plain victims
_training = partial(setting, group="training")
_adversary = partial(setting, group="training", only_with="adversary")
_data = partial(setting, group="data", in_recipe=False)


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """All that decides how victims are trained and tested."""

    preset: str = setting(
        "Where settings that are not given come from.", group="run", common=True, choices=PRESETS, in_recipe=False
    )
    victim: tuple[str, ...] = _attacker(
        "Victim network.", common=True, choices=NETWORKS, in_recipe=False, not_for=("table",)
    )
    attackers: str = _verify_only(
        "Set of attackers (docs/verifying.md); usual, unless --rho-a or --countermeasure list others.",
        common=True, default=LISTED, choices=(LISTED, *SETS), in_recipe=False,
    )  # fmt: skip
    rho_a: tuple[float, ...] = _attacker(
        "Radius of adversarial training; 0: standard training.",
        common=True, default=(4 / 255,), radius=True, in_recipe=False, not_for=("table",),
    )  # fmt: skip
    countermeasure: tuple[str, ...] = _verify_only(
        "What the victim does against the noise, all is all; `semshard countermeasures` explains. With --rho-a alone: "
        "none, grey and jpeg-10, each at radius 0, too.",
        common=True, default=("none",), choices=COUNTERMEASURES, plugins="countermeasures", in_recipe=False,
    )  # fmt: skip
    filter_on: str = _verify_only(
        "Images that the filter of a countermeasure is applied to: both, those to train and those to test on; or "
        "train, as in the paper's Table 4.",
        default="both", choices=("both", "train"), in_recipe=False,
    )  # fmt: skip
    start: tuple[str, ...] = _verify_only(
        "Where a victim's weights start: scratch, or with --weights a linear probe or full fine-tuning.",
        default=("scratch",), choices=STARTS, in_recipe=False,
    )  # fmt: skip
    protected_fraction: tuple[float, ...] = _verify_only(
        "Share of the training images that is protected; the others are clean.",
        default=(1.0,), above=0, at_most=1, in_recipe=False,
    )  # fmt: skip
    seeds: int = _verify_only(
        "Trainings of every victim, each with a seed of its own: --seed and those after it.",
        default=1, at_least=1, in_recipe=False,
    )  # fmt: skip
    longer: int = _verify_only(
        "Train the strongest attacker once more, for so many times the steps; 1 does not.",
        default=1, at_least=1, in_recipe=False,
    )  # fmt: skip
    steps: int = _training("Training steps of a victim.", at_least=1)
    batch: int = _training("Images per training step.", at_least=1)
    lr: float = _training("Learning rate of a victim: the first, or with schedule one-cycle the highest.", at_least=0)
    schedule: str = _training(
        "How the learning rate changes: step, divided by ten after every --lr-every steps; or one-cycle, up over the "
        "first 30 % of the steps and then down to nearly nothing, along half a cosine each (Smith 2018).",
        default="step", choices=SCHEDULES,
    )  # fmt: skip
    lr_every: int = _training(
        "With schedule step, the learning rate is divided by ten after every so many steps.", at_least=1
    )
    momentum: float = _training("SGD momentum.", at_least=0)
    nesterov: bool = _training("Nesterov's momentum in place of the plain one.", default=False)
    weight_decay: float = _training("SGD weight decay.", at_least=0)
    round_every: int = _training(ROUND_EVERY_HELP, default=0, at_least=0)
    steps_a: int = _adversary("PGD steps of the adversary.", at_least=0)
    step_share: float = _adversary(
        "PGD step size of the adversary, as a share of its radius; above 1 for a single step from a random start. What "
        "it finds is brought back into the radius in any case.",
        above=0, at_most=2,
    )  # fmt: skip
    tune_lr: float = _verify_only("Learning rate of fine-tuning, for probe and full.", default=0.01, at_least=0)
    patience: tuple[int, ...] = _verify_only(
        "Patience of early stopping (countermeasure early-stop), in training steps.",
        at_least=1, only_with="early-stop",
    )  # fmt: skip
    clean_share: tuple[float, ...] = _verify_only(
        "Share of clean images in the validation set of early stopping.",
        default=(0.0, 0.1, 0.3, 0.5, 0.7), at_least=0, at_most=1, only_with="early-stop",
    )  # fmt: skip
    views: str = _training("Training augmentation.", choices=GEOMETRY)
    pad: int = _training("Zero padding of crop-flip, in pixels.", at_least=0)
    crop: int = _training("Side of the resized crop, in pixels.", at_least=0)
    holdout: float = _data(
        "Share of the samples held out of every training, chosen by a hash of the key.", default=0.15, above=0, below=1
    )
    max_samples: int = _data("Use at most this many samples, chosen by a hash of the key; 0 uses all.", at_least=0)
    evaluations: int = _training("How often the test accuracy is measured during a training.", at_least=1)
    seed: int = setting(
        "First seed of initial weights, batches and views, and that of the control noise.",
        group="run", common=True, default=0, at_least=0, at_most=MOST_SEED, in_recipe=False, not_for=("table",),
    )  # fmt: skip
    precision: str = setting("Arithmetic inside the networks.", group="computing", choices=PRECISIONS)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.geometry == "resized-crop" and self.crop < 8:
            raise SettingError(f"crop = {self.crop} must be at least 8 pixels with resized-crop views")
        if self.nesterov and not self.momentum:
            raise SettingError("nesterov = true needs a momentum above 0")

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Which countermeasure is tried at which radius."""
        return pairs(self.attackers, self.countermeasure, self.rho_a)

    @property
    def compares_all(self) -> bool:
        """Whether every attacker is compared with originals and control; of a set with a name only the strongest is."""
        return self.attackers == LISTED

    @property
    def geometry(self) -> str:
        """The family of views."""
        return self.views


# What makes an attacker more than a network and a radius: only verify has several of them.
COUNTERED = names_where(VerifyConfig, not_for="study")
# What says which victims there are and on which samples: a victim is known by its attacker, its seed and its data.
NOT_IN_RECIPE = names_where(VerifyConfig, in_recipe=False)
# What only one kind of training reads.
FOR_ADVERSARY = names_where(VerifyConfig, only_with="adversary")
FOR_EARLY_STOP = names_where(VerifyConfig, only_with="early-stop")
