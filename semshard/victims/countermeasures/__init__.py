"""What people do to pictures or to a training to get rid of protective noise."""

from .filters import Filter, apply
from .table import BY_NAME, Countermeasure

__all__ = ["BY_NAME", "Countermeasure", "Filter", "apply"]
