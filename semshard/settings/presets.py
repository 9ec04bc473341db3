"""Where unset settings come from: the presets, what each method changes in them, and how all of it goes together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SettingError
from .attacker_sets import SETS, lists_of
from .fields import declared, defaults
from .names import (
    ANY_CELL,
    CELL_SETTINGS,
    CELLS,
    LARGE,
    LISTED,
    METHODS,
    NO_LIST,
    Size,
    cell_of,
)  # fmt: skip
from .protect import NO_NOISE_YET, ProtectConfig
from .radii import snap
from .serialise import coerce
from .verify import VerifyConfig
from .view_lists import normal

# "paper" is the setting of the SEM paper and of its authors' code, for CIFAR (small) and its ImageNet subset
# (large). "quick" is ours: a small network and few steps, so that two CPU cores finish in minutes.
# "medium" lies between them, for CPUs with time and for small images only: a network of nine layers, victims that are
# trained in one cycle, adversarially with one large step from a random start.
# The paper's subset is brought to one size (--resolution). There "paper" also has the authors' network, at 15 times the
# operations of the usual one, which photographs get that keep their own sizes.

PAPER_LARGE = "resnet18-paper"
_OPTIMISER = {"batch": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
_SMALL_VIEWS = {"views": "crop-flip", "pad": 4, "crop": 0}

_PROTECT: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "network": "resnet18", "steps": 5000, "lr_every": 2000, "draws": 5,
        "rho_u": 8 / 255, "steps_u": 10, "alpha_u": 1.6 / 255,
        "final_steps": 10, "final_alpha": 1.6 / 255, "final_draws": 5,
        "rho_a": 4 / 255, "steps_a": 10, "alpha_a": 0.8 / 255, "rho_r": 4 / 255,
        "craft_batch": 128,
    },
    ("paper", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 224,
        "network": "resnet18", "steps": 3000, "lr_every": 1200, "draws": 4,
        "rho_u": 8 / 255, "steps_u": 7, "alpha_u": 2 / 255,
        "final_steps": 7, "final_alpha": 2 / 255, "final_draws": 4,
        "rho_a": 4 / 255, "steps_a": 7, "alpha_a": 1 / 255, "rho_r": 4 / 255,
        "craft_batch": 128,
    },
    ("medium", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "network": "resnet9", "steps": 1000, "lr_every": 400, "draws": 1,
        "rho_u": 8 / 255, "steps_u": 5, "alpha_u": 3.2 / 255,
        "final_steps": 10, "final_alpha": 1.6 / 255, "final_draws": 2,
        "rho_a": 4 / 255, "steps_a": 5, "alpha_a": 0.8 / 255, "rho_r": 4 / 255,
        "craft_batch": 128,
    },
    ("quick", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "network": "small", "batch": 64, "steps": 400, "lr_every": 160, "draws": 1,
        "rho_u": 8 / 255, "steps_u": 5, "alpha_u": 3.2 / 255,
        "final_steps": 10, "final_alpha": 1.6 / 255, "final_draws": 2,
        "rho_a": 4 / 255, "steps_a": 5, "alpha_a": 0.8 / 255, "rho_r": 4 / 255,
        "craft_batch": 128,
    },
    ("quick", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 64,
        "network": "small", "batch": 64, "steps": 400, "lr_every": 160, "draws": 1,
        "rho_u": 8 / 255, "steps_u": 5, "alpha_u": 3.2 / 255,
        "final_steps": 10, "final_alpha": 1.6 / 255, "final_draws": 2,
        "rho_a": 4 / 255, "steps_a": 5, "alpha_a": 0.8 / 255, "rho_r": 4 / 255,
        "craft_batch": 64,
    },
}  # fmt: skip

# What a method changes in every preset, and in one.
_METHOD: dict[str, dict[str, Any]] = {
    "em": {"draws": 1, "final_draws": 1},  # without views and perturbation every draw is the same
    "em-aligned": {"draws": 1, "final_draws": 1},
    "tap": {"final_steps": 250, "final_alpha": 0.064 / 255, "final_draws": 1},
    "push": {
        "final_steps": 12,
        "final_alpha": 2 / 255,
        "final_draws": 1,
        "noise_views": ("grey=0.3", "blur=0.3"),
    },
    "ntga": {"final_steps": 10, "final_alpha": 0.88 / 255, "craft_batch": 512},
}
_TAP_QUICK = {"steps": 1600, "lr_every": 640, "final_steps": 50, "final_alpha": 0.32 / 255}
_TAP_PAPER = {"steps": 40_000, "lr_every": 16_000}  # its network is a victim of clean images
_PUSH_QUICK = {"steps": 640, "lr_every": 320}  # so is that of a push, an adversarially trained one
# A surrogate that reads the noise of photographs and knows nothing of the pictures: they all have each other's labels,
# and keep them and their noise from one visit to the next, so that two noise steps of a visit are enough.
_BLIND = {
    "pool": 1280, "label_noise": 1.0, "warm_up": 0.5, "steps": 1100, "lr_every": 440, "steps_u": 2, "final_draws": 3,
}  # fmt: skip
_METHOD_IN: dict[tuple[str, str, str], dict[str, Any]] = {
    ("quick", "large", "sem"): _BLIND,
    ("medium", "small", "tap"): {"steps": 4000, "lr_every": 1600, "final_steps": 100, "final_alpha": 0.16 / 255},
    ("medium", "small", "push"): {"steps": 2000, "lr_every": 800},
    ("quick", "small", "push"): _PUSH_QUICK,
    ("quick", "large", "push"): _PUSH_QUICK,
    ("paper", "small", "push"): _TAP_PAPER,
    ("paper", "large", "push"): _TAP_PAPER,
    ("quick", "small", "tap"): _TAP_QUICK,
    ("quick", "large", "tap"): _TAP_QUICK,
    ("paper", "small", "tap"): _TAP_PAPER,
    ("paper", "large", "tap"): {**_TAP_PAPER, "final_steps": 100, "final_alpha": 0.16 / 255},
}

_VERIFY: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "victim": ("resnet18",), "steps": 40_000, "lr_every": 16_000,
        "steps_a": 10, "step_share": 1 / 5, "evaluations": 40, "max_samples": 0,
        "patience": (3_000, 5_000, 10_000, 20_000),
    },
    ("paper", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 224, "victim": ("resnet18",),
        "steps": 40_000, "lr_every": 16_000,
        "steps_a": 8, "step_share": 1 / 4, "evaluations": 40, "max_samples": 0,
        "patience": (3_000, 5_000, 10_000, 20_000),
    },
    ("medium", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "victim": ("resnet9",), "steps": 3125, "lr": 0.2, "schedule": "one-cycle",
        "nesterov": True, "lr_every": 1250,
        "steps_a": 1, "step_share": 1.25, "evaluations": 20, "max_samples": 0,
        "patience": (235, 390, 780, 1560),
    },
    ("quick", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "victim": ("small",), "steps": 640, "lr_every": 320,
        "steps_a": 5, "step_share": 1 / 4, "evaluations": 20, "max_samples": 20_000,
        "patience": (48, 80, 160, 320),
    },
    ("quick", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 64, "victim": ("small",),
        "steps": 640, "lr_every": 320,
        "steps_a": 5, "step_share": 1 / 4, "evaluations": 20, "max_samples": 5_000,
        "patience": (48, 80, 160, 320),
    },
}  # fmt: skip


# Lists of views that have a name; the crop is that of the preset.
NAMED_VIEWS: dict[str, tuple[str, ...]] = {"paper": (), "hardened": ("grey=0.5",)}

# What goes with a name in a preset, for settings not given: the training that hardened noise needs, and a second
# network that the final noise pushes away from. Where a preset needs a list of its own for the name, that list.
_HARDENED = {
    "label_noise": 0.5, "warm_up": 0.5, "rho_a": 5 / 255,
    "final_steps": 12, "final_alpha": 2 / 255, "final_draws": 1, "final_views": ("grey=0.4", "blur=0.3"),
}  # fmt: skip
_WITH_VIEWS: dict[tuple[str, ...], dict[str, Any]] = {
    ("medium", "small", "hardened"): {**_HARDENED, "steps": 2000, "lr_every": 800, "push_steps": 2000},
    ("quick", "small", "hardened"): {**_HARDENED, "steps": 800, "lr_every": 320, "push_steps": 640},
    ("quick", "large", "hardened"): {"views": ("grey=0.3",), "steps": 2000, "lr_every": 800},
    ("paper", "small", "hardened"): {**_HARDENED, "push_steps": 5000},
    ("paper", "large", "hardened"): {**_HARDENED, "push_steps": 3000},
}

# What goes with a set of attackers in a preset, so that it ends within a quarter of an hour: an adversary of one large
# step. All 640 steps against it teach a victim more than half of them against one of five, in two thirds of the time.
_WITH_SET: dict[tuple[str, str], dict[str, Any]] = {
    ("quick", "usual"): {"steps_a": 1, "step_share": 1.25, "evaluations": 10},
}


def protect_config(preset: str, size: Size, precision: str, given: Mapping[str, Any]) -> ProtectConfig:
    """The settings of a protect run: the preset for images of `size`, then what was `given`.

    A step size or `rho_r` that was not given keeps its share of the radius it belongs to.
    Raises `SettingError` for an unknown name or an impossible value.
    """
    given = coerce(ProtectConfig, given)
    method, cell = _method(given)
    base = _preset(_PROTECT, preset, size) | defaults(ProtectConfig) | cell
    base |= {"preset": preset, "precision": precision, "method": method, "patch": 32 if _large(size) else 8}
    if preset == "paper" and size and _large(size):
        base["network"] = PAPER_LARGE
    base |= _METHOD.get(method, {}) | _METHOD_IN.get((preset, _kind(size), method), {})
    asked = given.get("views", ("paper",))
    brought = _WITH_VIEWS.get((preset, _kind(size), *asked), {})
    if method in NO_NOISE_YET:  # what it trains, and its final steps, are its own
        brought = {name: value for name, value in brought.items() if name == "views"}
    views = _views(brought.get("views", asked), base["views"])
    base = _over(_over(base, brought), given) | {"views": views}
    for name in ("noise_views", "final_views"):
        if base[name] not in NO_LIST:
            base[name] = _views(base[name], views[0])
    return ProtectConfig(**base)


def _over(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others in place of them; what follows one of these keeps its share of it."""
    followers = {
        name: snap(base[name] * given[one.follows] / base[one.follows])
        for name, one in declared(ProtectConfig).items()
        if one.follows in given and name not in given
    }
    return {**base, **followers, **given}


def _views(asked: tuple[str, ...], geometry: str) -> tuple[str, ...]:
    """The list that is meant: paper and hardened are names of lists."""
    return normal(NAMED_VIEWS.get(asked[0], asked) if len(asked) == 1 else asked, geometry)


def _method(given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The method that is asked for, by its name or by its cell, and the cell's settings."""
    asked = {name: given[name] for name in CELL_SETTINGS if name in given}
    method = given.get("method", ANY_CELL if asked else "sem")
    if method != ANY_CELL:
        own = _cell(CELLS["sem"]) | asked  # of a plugin: as it is asked for
        return method, _cell(CELLS.get(method, ("none", "none", "same"))) if method in METHODS else own
    cell = _cell(CELLS["sem"]) | asked
    named = [name for name, steps in CELLS.items() if steps == cell_of(**cell)]
    return (given.get("method") or (named or [ANY_CELL])[0]), cell


def _cell(steps: tuple[str, str, str]) -> dict[str, Any]:
    """A cell of Table 7 as settings."""
    noise_step, model_step, noise_views = steps
    return {"noise_step": noise_step, "model_step": model_step, "noise_views": (noise_views,)}


def verify_config(preset: str, size: Size, precision: str, given: Mapping[str, Any]) -> VerifyConfig:
    """The settings of a verify run: the preset for images of `size`, then what was `given`.

    Raises `SettingError` for an unknown name or an impossible value.
    """
    given = coerce(VerifyConfig, given)
    base = defaults(VerifyConfig) | _preset(_VERIFY, preset, size) | {"preset": preset, "precision": precision}
    if preset == "paper" and size and _large(size):
        base["victim"] = (PAPER_LARGE,)
    return VerifyConfig(**(base | _of_set(preset, given) | given))


def _of_set(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a set of attackers with a name brings along. Raises `SettingError` where its members are given, too."""
    name = given.get("attackers", LISTED)
    if name not in SETS:
        return {}
    contrary = [each for each in ("countermeasure", "rho_a") if each in given]
    if contrary:
        raise SettingError(
            f"attackers = {name} has countermeasures and radii of its own: leave out it or {' and '.join(contrary)}"
        )
    countermeasures, radii = lists_of(name)
    adversary = {} if {"steps_a", "step_share"} & given.keys() else _WITH_SET.get((preset, name), {})
    return {"countermeasure": countermeasures, "rho_a": radii, **adversary}


def _preset(table: dict[tuple[str, str], dict[str, Any]], preset: str, size: Size) -> dict[str, Any]:
    known = sorted({name for name, _ in table})
    if preset not in known:
        raise SettingError(f"preset {preset!r} is unknown; choose one of: {', '.join(known)}")
    if (preset, _kind(size)) not in table:
        raise SettingError(
            f"preset {preset} is for images of one size up to {LARGE} pixels a side; choose quick, or paper on a GPU"
        )
    return dict(table[preset, _kind(size)])


def _kind(size: Size) -> str:
    return "large" if _large(size) else "small"


def _large(size: Size) -> bool:
    return size is None or max(size) > LARGE
