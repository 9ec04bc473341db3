"""The science: the L∞ ball, the views, the surrogate, the defensive noise and its methods."""

from .adversary import InnerPerturbation, ModelStep, inner_perturbation
from .ball import to_levels
from .craft import NoiseCrafter, add
from .surrogate import SurrogateTraining, new_surrogate

__all__ = [
    "InnerPerturbation",
    "ModelStep",
    "NoiseCrafter",
    "SurrogateTraining",
    "add",
    "inner_perturbation",
    "new_surrogate",
    "to_levels",
]
