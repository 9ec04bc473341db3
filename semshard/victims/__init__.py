"""Victims: networks trained on protected images by somebody who really tries, and what came of it."""

from .report import verdict, write_report
from .training import Labelled, Point, Victim, train_victim

__all__ = ["Labelled", "Point", "Victim", "train_victim", "verdict", "write_report"]
