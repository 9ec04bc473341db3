"""What attackers do to pictures, or to a training, against protective noise."""

from ...filters import Filter
from .added import ByName, added_countermeasures, version_of
from .apply import apply
from .table import ALL, Countermeasure

BY_NAME = ByName((each.name, each) for each in ALL)

__all__ = ["BY_NAME", "Countermeasure", "Filter", "added_countermeasures", "apply", "version_of"]
