"""Where the files of a run go: a folder and its ledger, or, made in a pair of these, an object store (`stored_output`).

A run writes into `out` and `ledger` and says what it has written. In a folder nothing more is to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..shards import Ledger, ShardStats, done_stats, ledger_path


class Output:
    """A folder of shards and its ledger."""

    anew = "Give --overwrite to make it anew, or choose another --out"  # where another run is there, in words

    def __init__(self, out: Path, ledger: Ledger | None = None) -> None:
        self.out, self.ledger = out, ledger or Ledger(ledger_path(out))

    @property
    def url(self) -> str:
        """What results and messages call it."""
        return str(self.out)

    @property
    def ledger_url(self) -> str:
        """What results and messages call its ledger."""
        return str(self.ledger.path)

    # --- what is there -----------------------------------------------------------------------------------------------

    def stats(self, shard: int) -> ShardStats | None:
        """The stats of a shard that is done, whose files have the sizes in them, and whose inputs the ledger has; None
        where it has to be made. Raises `ShardError` where its mark is damaged.
        """
        stats = done_stats(self.out, shard, self.ledger.digits)
        return stats if stats and self.ledger.has_shard(shard) else None

    def stats_of(self, shards: Iterable[int]) -> list[ShardStats | None]:
        """`stats` of several shards."""
        return [self.stats(shard) for shard in shards]

    def undone(self, shards: Iterable[int]) -> list[int]:
        """Which of those shards are not done."""
        shards = list(shards)
        return [shard for shard, stats in zip(shards, self.stats_of(shards), strict=True) if not stats]

    def has_marks(self) -> bool:
        """Whether a shard was ever done."""
        return any(self.out.glob("*_stats.json"))

    def gather(self, shards: Iterable[int]) -> None:
        """From now on the ledger's files of those shards are in its folder, as far as there are any."""

    # --- what a run has written, in the order in which it does so ----------------------------------------------------

    def claim(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write run.json. Returns the run that the output belongs to now: this one, unless another was faster."""
        self.ledger.begin(dict(run))
        return run

    def begun(self) -> None:
        """The ledger has the inputs and the plan of a new run, which holds the output."""

    def surrogate_written(self) -> bool:
        """The ledger has the surrogate. False where another process was faster, whose surrogate is there now."""
        return True

    def write_parts(self, parts: Mapping[str, Any]) -> None:
        """Write down what the first part decides, unless an earlier one did."""
        self.ledger.write_parts(dict(parts))

    def forget_parts(self) -> None:
        """The next part decides anew."""
        self.ledger.forget_parts()

    def publishing(self) -> AbstractContextManager[Callable[[ShardStats], None]]:
        """A function to call with the stats of each shard that was made; when the block ends, all are published."""
        return nullcontext(lambda stats: None)

    def finished(self) -> None:
        """Folder and ledger have everything, the manifest among it."""
