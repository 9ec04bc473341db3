"""Drawn pictures that a small victim learns quickly."""

EASY = ("disc", "triangle", "cross", "bars")  # a small victim learns four classes adversarially in a minute, not ten
