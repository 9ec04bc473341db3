"""What a call of protect left behind, and what one step of a run says of itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..shards import ShardStats
from .parts import next_step
from .resume import PhaseTimer, Run


@dataclass(frozen=True)
class ProtectResult:
    """What a protect run left behind; of a call that was one step of it, what this step is about."""

    samples: int
    shards: int  # all, or those of the part
    rejected: int
    bytes: int  # of all tars
    linf_max: int  # grey levels
    psnr_mean: float  # dB
    duplicates: int  # usable inputs that have the pixels of an earlier one
    seconds: dict[str, float]  # by phase, of this call
    out: str
    ledger: str
    fingerprint: str
    made: int  # shards written by this call; 0 where all were there already
    signed: bool  # whether manifest.dsse.json is there
    part: str = ""  # like "2/8", of a call that made a part of the shards
    next: str = ""  # what comes next, in words; empty where the manifest is there


def of_step(run: Run, timer: PhaseTimer, share: Sequence[int], made: int = 0) -> ProtectResult:
    """The result of a step that writes no manifest, which is about the shards of `share` and has made so many."""
    part, known = run.request.part, run.ledger.held()
    stats = run.done(share) if part else list[ShardStats]()
    samples = sum(shard.samples for shard in stats)
    return ProtectResult(
        samples=samples,
        shards=len(share),
        rejected=sum(shard.rejected for shard in stats) if part else len(run.collection.rejects),
        bytes=sum(shard.bytes for shard in stats),
        linf_max=max((shard.linf_max for shard in stats), default=0),
        psnr_mean=round(math.fsum(shard.psnr_mean * shard.samples for shard in stats) / max(1, samples), 4),
        duplicates=known["duplicates"],
        seconds=timer.seconds,
        out=run.output.url,
        ledger=run.output.ledger_url,
        fingerprint=run.fingerprint,
        made=made,
        signed=False,
        part=str(part or ""),
        next=next_step(run) if part else next_step(run, len(run.missing(share))),
    )
