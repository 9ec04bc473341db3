"""Victims: networks trained on protected images by somebody who really tries, and what came of it."""

from .attacker import Attacker, attackers
from .countermeasures import BY_NAME, Countermeasure, Filter, apply
from .training import Labelled, Material, Point, Victim, train_victim

__all__ = [
    "BY_NAME",
    "Attacker",
    "Countermeasure",
    "Labelled",
    "Material",
    "Point",
    "Victim",
    "Filter",
    "apply",
    "attackers",
    "train_victim",
]
