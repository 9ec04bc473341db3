"""Small victims, and what a verification of them trains on."""

from semshard.verification.inputs import open_inputs
from semshard.verification.request import VerifyRequest

QUICK = {"preset": "quick", "steps": 4, "batch": 8, "steps_a": 1, "evaluations": 2, "holdout": 0.3}
PLAIN = QUICK | {"countermeasure": "none"}
RECIPE = {name: value for name, value in PLAIN.items() if name != "preset"}


def trained_phases(events):
    """The victims that were trained, in order: a training reports its steps, whatever is cached. What an attacker
    learns before reports its steps, too, but without the data that a victim trains on.
    """
    return list(dict.fromkeys(event.phase for event in events if event.unit == "steps" and ": " in event.phase))


def opened_inputs(shards, report, **settings):
    """What verify trains on, and what it trains with."""
    return open_inputs(VerifyRequest(shards, preset="quick", report=report, settings=settings))
