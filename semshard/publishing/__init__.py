"""What makes a finished folder something to publish: its data card, its Croissant description, what a host adds; and
copies in the formats of other loaders.
"""

from .card import CardResult, card
from .describe import (
    FILES,
    GIVEN,
    MADE,
    description,
    is_description,
    needs_description,
    refuse_other_description,
    write_description,
)
from .readme import revision_of
from .statement import Statement

__all__ = [
    "FILES", "GIVEN", "MADE", "CardResult", "Statement", "card", "description", "is_description", "needs_description",
    "refuse_other_description", "revision_of", "write_description",
]  # fmt: skip
