"""The story of verify: shards → victims (adversarially trained) → accuracy on clean images → verdicts → report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..progress import Progress, silent
from .grid import VictimTask, grid, in_order, train_in_turn
from .inputs import VerifyInputs, open_inputs
from .judge import judge
from .parallel import suited_jobs, train_in_parallel
from .report_files import write_report_files
from .request import VerifyRequest
from .results import VerifyResult, VictimOutcome, VictimResult


def verify(
    shards: str | Path,
    *,
    clean: str | Path | None = None,
    preset: str = "auto",
    report: str | Path | None = None,
    weights: str | Path | None = None,
    jobs: int | None = None,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> VerifyResult:
    """Train every attacker that `settings` span on the clean originals, on the shards and on the originals with random
    noise (control), by the same recipe and seeds, and test each on clean images that none of them saw in any form.

    `settings` are fields of `VerifyConfig`. Without a countermeasure among them, victims train on the pictures as they
    are, in greyscale and after JPEG 10, each with standard training and with adversarial training at the given radii.
    `weights` to start from are a safetensors file, or the torchvision name of some that are in its cache. Writes
    report.json, report.html and an in-toto attestation into `report` (default: `<shards>.report` beside the shards; it
    shows clean pixels, so it is not for publication). Finished victims are kept there too, and the one in training is
    saved once a minute, so that the same call resumes where it stopped. `jobs` victims are trained at once, each in a
    process of its own; on a CPU as many as there are cores unless given. Their accuracies do not depend on it.

    Raises `LedgerError` where the originals are missing, `ShardError`, `SourceError`, `SettingError`, `OutputError`.
    """
    return run_verify(VerifyRequest(shards, clean, preset, report, weights, jobs, device, progress, settings))


def run_verify(request: VerifyRequest) -> VerifyResult:
    """Shards → victims → accuracy on clean images → verdicts → report."""
    start = time.monotonic()
    inputs = open_inputs(request)
    victims = _train_and_test(inputs, request.jobs)
    result = judge(victims, inputs)
    write_report_files(result, inputs, time.monotonic() - start)
    return result


def _train_and_test(inputs: VerifyInputs, jobs: int | None) -> list[VictimResult]:
    """Every victim of the grid, and the strongest attacker's that train longer, with their accuracies on the clean test
    images.
    """
    config = inputs.trainer.config
    outcomes = _outcomes(inputs, list(grid(config)), jobs)
    if config.longer > 1:
        strongest = judge(in_order(outcomes, config), inputs).strongest.attacker
        outcomes |= _outcomes(inputs, list(grid(config, [replace(strongest, longer=config.longer)])), jobs)
    return in_order(outcomes, config)


def _outcomes(inputs: VerifyInputs, wanted: Sequence[VictimTask], jobs: int | None) -> dict[VictimTask, VictimOutcome]:
    dataset, trainer = inputs.dataset, inputs.trainer
    at_once = suited_jobs(dataset, trainer, wanted) if jobs is None else jobs
    if at_once > 1:
        return train_in_parallel(dataset, trainer, wanted, at_once)
    return train_in_turn(dataset, trainer, wanted)
