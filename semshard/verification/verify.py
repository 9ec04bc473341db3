"""The story of verify: shards → victims (adversarially trained) → accuracy on clean images → verdicts → report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..progress import Progress, silent
from ..workers import WorkerOptions, one_cluster
from .estimate import VerifyPlan, announce, plan_of
from .grid import VictimTask, first_round, grid, in_order, of_strongest
from .inputs import VerifyInputs, open_inputs
from .judge import judge
from .parallel import suited_workers, train_in_parallel
from .report_files import write_report_files
from .request import VerifyRequest
from .results import VerifyResult, VictimOutcome, VictimResult


def verify(
    shards: str | Path,
    *,
    clean: str | Path | None = None,
    ledger: str | Path | None = None,
    preset: str = "auto",
    report: str | Path | None = None,
    weights: str | Path | None = None,
    workers: WorkerOptions | None = None,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> VerifyResult:
    """Train every attacker of a set on the shards, and the strongest on the clean originals and on the originals with
    random noise (control), too, by the same recipe and seeds; test each on clean images that none of them saw in any
    form.

    The `shards` may be on an object store; the `ledger` is the one beside their folder unless another is given.
    `settings` are fields of `VerifyConfig`. `attackers` is a set: usual, strong or all; usual where neither it nor a
    countermeasure nor a radius is given. Attackers that are listed by countermeasure and radius are all trained on
    originals and control. With radii alone, the countermeasures are none, grey and jpeg-10, each at radius 0, too.
    `weights` to start from are a safetensors file, or the torchvision name of some that are in its cache. Writes
    report.json, report.html and an in-toto attestation into `report` (default: `<shards>.report` beside the shards; it
    shows clean pixels, so it is not for publication). Finished victims are kept there too, and the one in training is
    saved once a minute, so that the same call resumes where it stopped. `workers` train victims at once: processes of
    this machine, on a CPU as many as there are cores unless given, or actors on a Ray cluster. The accuracies do not
    depend on it.

    Raises `LedgerError` where the originals are missing, `ShardError`, `SourceError`, `SettingError`, `OutputError`.
    """
    return run_verify(
        VerifyRequest(shards, clean, preset, ledger, report, weights, device, progress, settings, workers)
    )


def plan_verification(
    shards: str | Path,
    *,
    clean: str | Path | None = None,
    ledger: str | Path | None = None,
    preset: str = "auto",
    report: str | Path | None = None,
    weights: str | Path | None = None,
    workers: WorkerOptions | None = None,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> VerifyPlan:
    """What `verify` with the same arguments would train, and an estimate of the time, from a few measured steps.

    Trains nothing and writes nothing. Raises as `verify`.
    """
    request = VerifyRequest(shards, clean, preset, ledger, report, weights, device, progress, settings, workers)
    return plan_of(open_inputs(request, writes=False), request.workers)


def run_verify(request: VerifyRequest) -> VerifyResult:
    """Shards → victims → accuracy on clean images → verdicts → report."""
    start = time.monotonic()
    inputs = open_inputs(request)
    announce(inputs, request.workers)
    with one_cluster(request.workers):
        victims = _train_and_test(inputs, request.workers)
    result = judge(victims, inputs)
    write_report_files(result, inputs, time.monotonic() - start)
    return result


def _train_and_test(inputs: VerifyInputs, workers: WorkerOptions) -> list[VictimResult]:
    """Every victim of the grid, and those of the strongest attacker alone, with their accuracies on the clean test
    images: of a set with a name it is compared with originals and control, and it may train longer.
    """
    config = inputs.trainer.config
    outcomes = _outcomes(inputs, list(first_round(config)), workers)
    if config.compares_all and config.longer == 1:
        return in_order(outcomes, config)
    strongest = judge(in_order(outcomes, config), inputs).strongest.attacker
    for attacker in of_strongest(config, strongest):
        outcomes |= _outcomes(inputs, list(grid(config, [attacker])), workers)
    return in_order(outcomes, config)


def _outcomes(
    inputs: VerifyInputs, wanted: Sequence[VictimTask], options: WorkerOptions
) -> dict[VictimTask, VictimOutcome]:
    dataset, trainer = inputs.dataset, inputs.trainer
    workers = options.workers or (suited_workers(dataset, trainer, wanted) if options.engine == "local" else None)
    return train_in_parallel(dataset, trainer, wanted, replace(options, workers=workers))
