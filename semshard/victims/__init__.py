"""Victims: networks that somebody trains on protected images, with real effort, and how well they do."""

from .attacker import Attacker, attackers
from .countermeasures import BY_NAME, Filter, apply
from .stopping import Stop, ValidationPoint
from .training import (
    TEST_BATCH,
    TRAIN_SAMPLE,
    LabelledImages,
    Point,
    Supervision,
    TrainingState,
    Victim,
    VictimData,
    VictimRecipe,
    train_victim,
    trial,
)

__all__ = [
    "BY_NAME",
    "TEST_BATCH",
    "TRAIN_SAMPLE",
    "Attacker",
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
    "apply",
    "attackers",
    "train_victim",
    "trial",
]
