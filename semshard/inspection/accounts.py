"""The ledger's accounts: what was published is what the ledger says, and every input is protected or rejected, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LedgerError
from ..shards import Ledger, Shards, code_of, damage, files_of, key_of, manifest_sha256, tar_of
from .failure import Failure
from .inventory import Inventory

_LISTED = 20  # failures of one kind, at most


def accounts(shards: Shards, inventory: Inventory) -> Iterator[Failure]:
    """The manifest, the fates of all inputs and the labels against the ledger, which is private: invariants 4 and 5."""
    ledger = Ledger(shards.ledger)
    if os.name == "posix" and ledger.path.stat().st_mode & 0o077:  # Windows has no such bits
        yield Failure("ledger", "", f"{ledger.path} can be opened by others; chmod 700 it")
    for check in (_check_manifest, _check_run, _check_fates):
        try:
            with damage(ledger.path, LedgerError):
                yield from check(shards, ledger, inventory)
        except LedgerError as error:
            yield Failure("ledger", "", str(error))


def _check_manifest(shards: Shards, ledger: Ledger, inventory: Inventory) -> Iterator[Failure]:
    """A run of an earlier version has recorded none: nothing is known then."""
    recorded = ledger.published()
    if recorded not in (None, manifest_sha256(shards.directory)):
        yield Failure("manifest.json", "", "is not the one that the ledger has recorded; protect writes it again")


def _check_run(shards: Shards, ledger: Ledger, inventory: Inventory) -> Iterator[Failure]:
    """What the manifest says against what the ledger says of the run."""
    run, stated = ledger.known(), shards.manifest
    if run is None:
        yield Failure("ledger", "", f"{ledger.path / 'run.json'} is missing")
        return
    here: dict[str, Any] = {**stated["settings"], "classes": stated["classes"], "inputs": stated["counts"]["inputs"]}
    here |= {"duplicates of earlier images": stated["counts"]["duplicates"], "size": list(shards.size or ()) or None}
    there = {**run, "duplicates of earlier images": run.get("duplicates", 0), **run["settings"]}
    for name, value in here.items():
        if name in there and there[name] != value:
            yield Failure("manifest.json", "", f"{name} is {value!r}, the ledger says {there[name]!r}")


def _check_fates(shards: Shards, ledger: Ledger, inventory: Inventory) -> Iterator[Failure]:
    counted = shards.manifest["counts"]["inputs"]
    scanned = ledger.scanned("label", "reason")
    usable, inputs = scanned["reason"] == "", len(scanned["label"])
    fates = np.zeros(max(counted, inputs), np.int64)  # how often each input is accounted for
    fates[:inputs] += ~usable
    numbers, keys = list[int](), list[int]()
    for shard in range(shards.count):
        rejected = 0
        for fate in ledger.shard(shard):
            fates[fate.number] += 1
            rejected += fate.key is None
            if fate.key:
                numbers.append(fate.number)
                keys.append(code_of(fate.key))
            elif fate.number < inputs:
                usable[fate.number] = False
        rejected += len(ledger.record(shard).get("absent", []))  # that are accounted for elsewhere by now
        if rejected != inventory.rejected.get(shard, 0):
            stats = files_of(shards.tar(shard))[2]
            yield Failure(stats.name, "", f"says another number of rejected inputs than the ledger, {rejected}")
    if (fates != 1).any():
        once, more = int((fates == 1).sum()), int((fates > 1).sum())
        yield Failure("ledger", "", f"{counted} inputs, but {once} are accounted for once, {more} more than once")
    known = np.array(keys, np.int64)
    for where, one, other in (("ledger", known, inventory.codes), ("shards", inventory.codes, known)):
        for code in np.setdiff1d(one, other).tolist():
            yield Failure("ledger", key_of(code, shards.digits), f"is only in the {where}")
    if inputs != counted:
        yield Failure("manifest.json", "", f"counts {counted} inputs, the ledger {inputs}")
    yield from _labels(shards, inventory, known, scanned["label"][numbers])
    yield from _histogram(shards, inventory, scanned["label"][usable])


def _labels(
    shards: Shards, inventory: Inventory, keys: NDArray[np.int64], labels: NDArray[np.int32]
) -> Iterator[Failure]:
    """The label of each sample is that of its input: `keys` of samples and the `labels` of their inputs."""
    order = np.argsort(keys)
    codes = inventory.codes
    places = np.searchsorted(keys, codes, sorter=order)
    found = places < len(keys)
    found[found] = keys[order[places[found]]] == codes[found]
    wrong = np.flatnonzero(found)[labels[order[places[found]]] != inventory.labels[found]]
    for code in codes[wrong][:_LISTED].tolist():
        yield Failure(tar_of(code, shards.digits), key_of(code, shards.digits), "has another label than its input")
    if len(wrong) > _LISTED:
        yield Failure("manifest.json", "", f"{len(wrong):,} samples have another label than their inputs")


def _histogram(shards: Shards, inventory: Inventory, labels: NDArray[np.int32]) -> Iterator[Failure]:
    """As many samples of each class as the source has usable inputs, whose `labels` these are."""
    classes = len(shards.classes)
    here, there = (
        np.bincount(each[(each >= 0) & (each < classes)], minlength=classes) for each in (inventory.labels, labels)
    )
    for label in np.flatnonzero(here != there).tolist():
        what = f"class {shards.classes[label]!r} has {here[label]:,} samples, the source {there[label]:,} inputs"
        yield Failure("manifest.json", "", what)
