"""The science: the L∞ ball, the views, the surrogate, the defensive noise."""

from .adversary import adversarial_step, adversary
from .ball import to_levels
from .craft import add, craft, craft_levels
from .surrogate import Checkpoint, new_surrogate, surrogate_step, train_surrogate

__all__ = [
    "Checkpoint",
    "add",
    "adversarial_step",
    "adversary",
    "craft",
    "craft_levels",
    "new_surrogate",
    "surrogate_step",
    "to_levels",
    "train_surrogate",
]
