"""What people do to pictures or to a training to get rid of protective noise."""

from .filters import apply
from .table import BY_NAME, Countermeasure

__all__ = ["BY_NAME", "Countermeasure", "apply"]
