"""What attackers do to pictures, or to a training, against protective noise."""

from ...filters import Filter
from .apply import apply
from .table import BY_NAME, Countermeasure

__all__ = ["BY_NAME", "Countermeasure", "Filter", "apply"]
