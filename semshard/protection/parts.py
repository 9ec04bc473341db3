"""A run in numbered parts: processes that know nothing of each other make one output in a folder that all can reach.

    protect … --until surrogate     scans, decides the settings, trains; alone
    protect … --part 1/8 … 8/8      each makes its share of the shards; together, in any order, again
    protect … --finish              writes the manifest when all shards are there; alone

A part neither scans nor trains, nor lists the source where that is read by rows: the ledger knows the collection and
has the surrogate. It writes shards and the ledger's files of them, which depend on the run and not on who makes them,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from ..errors import LedgerError, OutputError, RunError, SettingError
from ..numbered_part import NumberedPart
from ..shards import Ledger, ShardStats, shard_name, was_removed
from .known_shards import made_on
from .part import parts_of
from .request import Request
from .resume import Run
from .scan import limit_rejects

SURROGATE = "surrogate"  # the only step that a run can be ended at


def check_steps(request: Request) -> None:
    """Raise `SettingError` where the request asks for steps of a run that exclude each other."""
    later = _later_step(request)
    if (request.until is not None) + (request.part is not None) + request.finish > 1:
        raise SettingError("--until, --part and --finish are different steps of a run; give one of them")
    if request.until not in (None, SURROGATE):
        raise SettingError(f"--until {request.until}: a run can be ended at {SURROGATE} only")
    if later and request.overwrite:
        raise SettingError(f"--overwrite makes everything anew: give it with --until {SURROGATE}, not with {later}")
    if later and request.grows:
        raise SettingError(f"--extend and --retry-rejects go with --until {SURROGATE}, not with {later}")


def check_begun(request: Request, ledger: Ledger) -> None:
    """Raise `OutputError` where a part, or the manifest, is asked for of a run that the ledger does not know."""
    later = _later_step(request)
    if later and not ledger.run():
        raise OutputError(
            f"{ledger.path} knows no run; {later} comes after the same command with --until {SURROGATE} in its place"
        )


def check_part(run: Run, missing: Sequence[int]) -> None:
    """Raise `OutputError` where a part cannot make its missing shards: the surrogate is not there, or this machine
    would make other bytes than the one that made the first. The first part is written down in the ledger.
    """
    part, ledger = run.request.part, run.ledger
    assert part is not None
    if run.config.has_surrogate and not ledger.surrogate.exists():
        raise OutputError(
            f"{ledger.surrogate} is missing; --part {part} comes after the same command with --until {SURROGATE} in "
            "its place has ended"
        )
    here = _machine(run)
    _compare(part, _made_before(run, missing), made_on(run))
    run.output.write_parts({"parts": part.count, "made_on": here})
    first = ledger.parts()
    assert first is not None
    _compare(part, first["made_on"], here)


def forget_machine(run: Run) -> None:
    """Where no shard is made yet, or none of those that are added, the next part decides on which kind of machine."""
    if run.request.grows or not run.output.has_marks():
        run.output.forget_parts()


def check_complete(ledger: Ledger, missing: Sequence[int]) -> None:
    """Raise `RunError` where shards are missing that the manifest should name."""
    if not missing:
        return
    names = ", ".join(shard_name(shard, ledger.digits) for shard in missing[:5]) + (" …" if len(missing) > 5 else "")
    parts = ledger.parts()
    makers = [str(part) for part in parts_of(list(missing), int(parts["parts"]))] if parts else []
    which = f"--part {', '.join(makers[:5])}{' …' if len(makers) > 5 else ''}" if makers else "--part I/N"
    raise RunError(
        f"{len(missing)} of {ledger.state().get('shards', 0)} shards are missing ({names}); the same command with "
        f"{which} in place of --finish makes them"
    )


def check_rejects(run: Run, stats: Iterable[ShardStats]) -> None:
    """Raise `TooManyRejects` where more inputs are unusable than the request allows, in all parts together."""
    if run.history:
        return  # checked when they were made
    unusable = sum(not was_removed(reason) for reason in run.collection.rejects.values())
    late = sum(shard.rejected for shard in stats)
    limit_rejects(unusable + late, len(run.collection.source), run.request.max_rejects, f"; see {run.ledger.path}")


def next_step(run: Run, missing: int = 0) -> str:
    """What comes after a step of which so many shards are missing, in words."""
    if run.request.part:
        return f"when all parts have ended: the same command with --finish in place of --part {run.request.part}"
    if not missing:
        return f"every shard is made: the same command with --finish in place of --until {SURROGATE}"
    return (
        f"shards to be made: {missing:,}; the same command with --part I/N makes them, in place of --until "
        f"{SURROGATE}, for every I from 1 to N, at once or one after the other; then --finish writes the manifest"
    )


def _later_step(request: Request) -> str:
    """The option for a step that needs what an earlier one has left; empty for others."""
    return f"--part {request.part}" if request.part else "--finish" if request.finish else ""


def _machine(run: Run) -> dict[str, str]:
    """What the bytes depend on: the device and torch, and on a CPU the instructions that torch chooses."""
    is_cpu = run.runtime.device.type == "cpu"
    return made_on(run) | ({"instructions": torch.backends.cpu.get_cpu_capability()} if is_cpu else {})


def _made_before(run: Run, missing: Sequence[int]) -> dict[str, str] | None:
    """What a shard of this part that is done was made on; None where there is none, or the ledger does not say."""
    part, absent = run.request.part, set(missing)
    assert part is not None
    if run.history:
        return None  # shards that are added may be made elsewhere
    done = next((shard for shard in part.every_nth(run.ledger.state().get("shards", 0)) if shard not in absent), None)
    if done is None:
        return None
    run.output.gather([done])
    try:
        return run.ledger.record(done).get("made_on")
    except LedgerError:
        return None


def _compare(part: NumberedPart, first: dict[str, str] | None, here: dict[str, str]) -> None:
    differ = [
        f"{name} was {value}, is {here.get(name)}" for name, value in (first or {}).items() if here.get(name) != value
    ]
    if differ:
        raise OutputError(
            "the shards of this run are made on another kind of machine, and would get other bytes here: "
            f"{'; '.join(differ)}. Run --part {part} on a machine like the first"
        )
