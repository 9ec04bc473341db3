"""Victims: networks trained on protected images by somebody who really tries, and what came of it."""

from .attacker import Attacker, attackers
from .countermeasures import BY_NAME, Countermeasure, Filter, apply
from .stopping import ValidationPoint
from .training import TRAIN_SAMPLE, LabelledImages, Point, TrainingState, Victim, VictimData, train_victim

__all__ = [
    "TRAIN_SAMPLE",
    "BY_NAME",
    "Attacker",
    "Countermeasure",
    "LabelledImages",
    "ValidationPoint",
    "VictimData",
    "Point",
    "TrainingState",
    "Victim",
    "Filter",
    "apply",
    "attackers",
    "train_victim",
]
