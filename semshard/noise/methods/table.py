"""The methods in words, and what each costs: the rows of the paper's tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...settings import Method, ProtectConfig
from ..two_networks import push_config

METHODS = (
    Method(
        "sem",
        "stable error-minimising noise: random perturbation in the noise step, PGD in the model step",
        "Liu et al., AAAI 2024",
        "adversarial training: 11 to 32 % up to 4/255",
    ),
    Method(
        "rem",
        "robust error-minimising noise: PGD in both steps",
        "Fu et al., ICLR 2022",
        "adversarial training in part: 14 to 48 % up to 4/255",
    ),
    Method(
        "rem-u",
        "REM-δu: PGD in the noise step only",
        "Liu et al., AAAI 2024 (Table 1)",
        "not adversarial training: 88 % at 4/255",
    ),
    Method(
        "rem-theta",
        "REM-θ: PGD in the model step only",
        "Liu et al., AAAI 2024 (Table 1)",
        "adversarial training: 38 % at 4/255",
    ),
    Method(
        "em",
        "error-minimising noise, as in the paper's tables: no perturbation; made on a random view, added to the image",
        "Huang et al., ICLR 2021; the code of Fu et al., ICLR 2022",
        "standard training (13 %), little else: 71 % at 2/255",
    ),
    Method(
        "em-aligned",
        "error-minimising noise made on the image itself: no perturbation, no views in the noise step",
        "ours, after Huang et al., ICLR 2021",
        "not in the paper",
    ),
    Method(
        "tap",
        "targeted adversarial poisoning: a clean network takes each image for the next class",
        "Fowl et al., NeurIPS 2021",
        "standard training (23 %), nothing else: 92 % at 1/255",
    ),
    Method(
        "push",
        "adversarial push: away from its class, for a network trained adversarially on clean images",
        "ours, after Fowl et al., NeurIPS 2021, and Wen et al., ICLR 2023",
        "not in the paper",
    ),
    Method(
        "ntga",
        "neural tangent generalisation attack: misleads an infinitely wide network",
        "Yuan and Wu, ICML 2021",
        "standard training (16 %), weakly 1/255 (42 %): 85 % at 2/255",
    ),
    Method(
        "sc",
        "synthesised shortcuts: separable patch patterns, no network",
        "Yu et al., KDD 2022",
        "standard training (12 %), nothing else: 92 % at 1/255",
    ),
)


@dataclass(frozen=True)
class Cost:
    """Passes through the network, forward = 1: an input gradient is 2 of them, a parameter step 3."""

    training: float  # of the whole surrogate
    crafting: float  # of one image


def cost(config: ProtectConfig) -> Cost | None:
    """What the settings ask of the network; None for methods without one."""
    if not config.has_surrogate:
        return None
    if config.push_steps:
        own, push = (cost(each) for each in (replace(config, push_steps=0), push_config(config)))
        assert own is not None
        assert push is not None
        return Cost(own.training + push.training, own.crafting * 2)
    inside = {"none": 0, "random": 0, "pgd": 2 * config.steps_a if config.rho_a else 0}
    noise = 0 if config.clean_surrogate else config.steps_u * config.draws * (2 + inside[config.noise_step])
    training = config.steps * config.batch * (noise + 3 + inside[config.model_step])
    return Cost(training, config.final_steps * config.final_draws * (2 + inside[config.noise_step]))
