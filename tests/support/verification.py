"""Small victims, and what a verification of them trains on."""

import sys
from contextlib import contextmanager

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


@contextmanager
def counted_calls(function):
    """Counts the calls of a Python function in this thread, which run as they are."""
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(1) if (event, frame.f_code) == ("call", code) else None)
    code = function.__code__
    try:
        yield calls
    finally:
        sys.setprofile(None)
