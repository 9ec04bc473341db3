"""The science: the L∞ ball, the views, the surrogate, the defensive noise and its methods."""

from .adversary import InnerPerturbation, ModelStep, inner_perturbation
from .ball import to_levels
from .craft import NoiseCrafter, add
from .surrogate import SurrogateTraining, initial_noise, new_surrogate, pool_labels, pool_numbers
from .two_networks import NamedNetwork, networks_of

__all__ = [
    "InnerPerturbation",
    "ModelStep",
    "NoiseCrafter",
    "NamedNetwork",
    "SurrogateTraining",
    "add",
    "initial_noise",
    "inner_perturbation",
    "new_surrogate",
    "networks_of",
    "pool_labels",
    "pool_numbers",
    "to_levels",
]
