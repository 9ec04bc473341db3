"""Victims: networks trained on protected images by somebody who really tries, and what came of it."""

from .attacker import Attacker, attackers
from .countermeasures import BY_NAME, Countermeasure, Filter, apply
from .stopping import Look
from .training import TRAIN_SAMPLE, Labelled, Material, Point, Standing, Victim, train_victim

__all__ = [
    "TRAIN_SAMPLE",
    "BY_NAME",
    "Attacker",
    "Countermeasure",
    "Labelled",
    "Look",
    "Material",
    "Point",
    "Standing",
    "Victim",
    "Filter",
    "apply",
    "attackers",
    "train_victim",
]
