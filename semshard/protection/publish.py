"""The one place where a manifest is written: what the ledger says of finished shards, published.

The history in the manifest comes last of all: where it is that of the ledger, a change is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LedgerError, SettingError, ShardError
from ..progress import Progress, silent
from ..publishing import write_description
from ..settings import ProtectConfig, from_json
from ..shards import (
    Fields,
    Ledger,
    LedgerRow,
    ManifestContent,
    ShardStats,
    ledger_path,
    manifest_of,
    manifest_sha256,
    write_manifest,
)
from ..shards.signature import refresh_signature
from .known_plan import first_shards
from .settle import EARLIER, machines_in, record_in


class StatsOfShards(Collection[ShardStats]):
    """The stats of so many shards, in order, read one by one whenever they are asked for."""

    def __init__(self, shards: int, read: Callable[[int], ShardStats | None]) -> None:
        self._shards, self._read = shards, read

    def __len__(self) -> int:
        return self._shards

    def __iter__(self) -> Iterator[ShardStats]:
        for shard in range(self._shards):
            stats = self._read(shard)
            if stats is None:
                raise ShardError(f"shard {shard} vanished; run the same command again")
            yield stats

    def __contains__(self, stats: object) -> bool:
        return any(each == stats for each in self)


@dataclass(frozen=True)
class Finished:
    """A run as its ledger knows it, without its source."""

    out: Path
    ledger: Ledger
    known: Mapping[str, Any]  # run.json, with what was changed since
    config: ProtectConfig
    fields: Fields
    made_on: Mapping[str, str]
    version: str  # of the semshard that made the shards

    @classmethod
    def of(cls, out: Path) -> Finished:
        """The run whose shards are in `out`. Raises `LedgerError` where its ledger is missing, or is of an earlier
        version that did not keep enough.
        """
        ledger = Ledger(ledger_path(out))
        known = ledger.known()
        if known is None:
            raise LedgerError(f"there is no ledger {ledger.path}; without it nothing in {out} can be changed or remade")
        records = (record_in(ledger, shard) for shard in range(known.get("shards", 0)))
        record = next((record for record in records if "stats" in record), None)
        if record is None:
            raise LedgerError(f"{ledger.path} {EARLIER}, or the run is not finished")
        try:
            config = from_json(ProtectConfig, known["settings"])
        except SettingError as error:
            raise LedgerError(f"{ledger.path} is of another version of semshard: {error}") from None
        fields = Fields(config.format, config.keep_metadata, tuple(record["carried"]))
        first = first_shards(known.get("history", []))
        made_on = machines_in(ledger, known["shards"] if first is None else first) or record["made_on"]
        return cls(out, ledger, known, config, fields, made_on, record["version"])

    @property
    def shards(self) -> int:
        return int(self.known["shards"])

    def manifest(self, stats: Collection[ShardStats]) -> dict[str, Any]:
        """What the manifest of these shards says."""
        return manifest_of(self._content(stats), self.version)

    def publish(self, stats: Collection[ShardStats], progress: Progress = silent) -> dict[str, Any]:
        """Write the ledger's list of rejects and the manifest, which is returned. The ledger's record of
        it comes last, so that a call that finds none, or another, writes all of it again.
        """
        self.ledger.write_rejects(rejects(self.ledger, stats))
        manifest = write_manifest(self.out, self._content(stats), self.version)
        write_description(self.out, {})
        refresh_signature(self.out, None, progress)
        self.ledger.write_published(manifest_sha256(self.out))
        return manifest

    def _content(self, stats: Collection[ShardStats]) -> ManifestContent:
        known = self.known
        size = (known["size"][0], known["size"][1]) if known["size"] else None
        return ManifestContent(
            self.config, tuple(known["classes"]), size, self.fields, stats, known["inputs"], known["duplicates"],
            self.made_on, known.get("history", []),
        )  # fmt: skip


def rejects(ledger: Ledger, stats: Iterable[ShardStats]) -> Iterator[LedgerRow]:
    """Every input that is not published: those of the list of inputs, then those that were unusable later, of which the
    stats of their shards tell.
    """
    for row in ledger.rejected():
        yield LedgerRow(row.number, row.source, row.sha256.hex() if row.sha256 else None, reason=row.reason)
    for shard in (each.shard for each in stats if each.rejected):
        yield from ledger.unusable(shard)
