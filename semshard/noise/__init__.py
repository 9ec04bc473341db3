"""The science: the L∞ ball, the views, the surrogate, the defensive noise and its methods."""

from .adversary import InnerPerturbation, adversary, inner, model_step
from .ball import to_levels
from .craft import add, craft
from .surrogate import new_surrogate, surrogate_step, train_surrogate

__all__ = [
    "InnerPerturbation",
    "add",
    "adversary",
    "craft",
    "inner",
    "model_step",
    "new_surrogate",
    "surrogate_step",
    "to_levels",
    "train_surrogate",
]
