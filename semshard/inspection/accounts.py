"""The ledger's accounts: every input is protected or rejected, once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import LedgerError
from ..shards import Ledger, Shards, ledger_path
from .failure import Failure


def accounts(shards: Shards, seen: set[str]) -> Iterator[Failure]:
    """Check that every input is protected or rejected, once, and that the ledger is private: invariants 4 and 5."""
    ledger = Ledger(ledger_path(shards.directory))
    if ledger.path.stat().st_mode & 0o077:
        yield Failure("ledger", "", f"{ledger.path} can be opened by others; chmod 700 it")
    counted = shards.manifest["counts"]["inputs"]
    fates = np.zeros(counted, np.int64)  # how often each input is accounted for
    inputs, keys = 0, set[str]()
    try:
        for row in ledger.inputs():
            fates[row.number] += bool(row.reason) if row.number < counted else 0
            inputs += 1
        for number in range(len(shards.tars)):
            for fate in ledger.shard(number):
                fates[fate.number] += 1 if fate.number < counted else 0
                keys |= {fate.key} if fate.key else set()
    except (LedgerError, IndexError) as error:
        yield Failure("ledger", "", str(error))
        return
    if (fates != 1).any():
        once, more = int((fates == 1).sum()), int((fates > 1).sum())
        yield Failure("ledger", "", f"{counted} inputs, but {once} are accounted for once, {more} more than once")
    for key in sorted(keys ^ seen):
        where = "only in the ledger" if key in keys else "only in the shards"
        yield Failure("ledger", key, f"is {where}")
    if inputs != counted:
        yield Failure("manifest.json", "", f"counts {counted} inputs, the ledger {inputs}")
