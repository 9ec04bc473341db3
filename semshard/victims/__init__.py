"""Victims: networks that somebody trains on protected images, with real effort, and how well they do."""

from .attacker import Attacker, attackers, unsuited
from .countermeasures import BY_NAME, Countermeasure, Filter, added_countermeasures, apply, version_of
from .data import LabelledImages, VictimData
from .recipe import VictimRecipe
from .stopping import Stop, ValidationPoint
from .testing import TEST_BATCH, attack_passes
from .training import (
    TRAIN_SAMPLE,
    Point,
    Supervision,
    TrainingState,
    Victim,
    train_victim,
    trial,
)

__all__ = [
    "BY_NAME",
    "TEST_BATCH",
    "TRAIN_SAMPLE",
    "Attacker",
    "Countermeasure",
    "Filter",
    "LabelledImages",
    "Point",
    "Stop",
    "Supervision",
    "TrainingState",
    "ValidationPoint",
    "Victim",
    "VictimData",
    "VictimRecipe",
    "added_countermeasures",
    "apply",
    "attack_passes",
    "attackers",
    "train_victim",
    "trial",
    "unsuited",
    "version_of",
]
