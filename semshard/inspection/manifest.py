"""The manifest against itself: its settings are possible, its totals follow from its shards, and it is written as
semshard writes it, to the byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .._version import __version__
from ..errors import SettingError, ShardError
from ..settings import ProtectConfig, defaults, protect_config
from ..shards import Fields, ManifestContent, ShardRecords, Shards, ShardStats, manifest_bytes, manifest_of
from .failure import Failure

FILE = "manifest.json"


def canonical(shards: Shards) -> Iterator[Failure]:
    """Whether manifest.json is written as semshard writes it."""
    if not _is_canonical(shards):
        yield Failure(FILE, "", "is not written as semshard writes it")


def broken_lists(shards: Shards, only: range) -> Iterator[Failure]:
    """The files that list the shards and are not those that manifest.json names: all that have one of these shards."""
    if isinstance(shards.records, ShardRecords):
        for number in shards.records.files_of(only):
            try:
                shards.records.read(number)
            except ShardError as error:
                yield Failure(shards.records.files[number]["name"], "", str(error))


def manifest(shards: Shards, samples: int, rejected: int) -> Iterator[Failure]:
    """What is wrong with the manifest by itself, and by the numbers of `samples` in the tars and of
    `rejected` inputs in the stats.
    """
    stated = shards.manifest
    yield from canonical(shards)
    counts = stated["counts"]
    for name, number in (("samples", samples), ("shards", shards.count)):
        if counts[name] != number:
            yield Failure(FILE, "", f"counts {counts[name]} {name}, found {number}")
    if counts["inputs"] != counts["samples"] + counts["rejected"]:
        yield Failure(FILE, "", f"{counts['inputs']} inputs, but {counts}")
    if counts["rejected"] < rejected and not stated.get("history"):  # rejects may have become usable since
        yield Failure(FILE, "", f"counts {counts['rejected']} rejected inputs, the stats of the shards {rejected}")
    try:
        config = config_of(shards)
    except SettingError as error:
        yield Failure(FILE, "", f"settings: {error}")
        return
    try:
        computed = manifest_of(_content(shards, config), stated["tool"]["version"])
    except ShardError:
        return  # reported with the files that list the shards
    computed["card"] = stated.get("card")  # of another version, or None: it is older than data cards
    if stated["tool"]["version"] != __version__:  # a setting that another version did not know has its default
        known = defaults(ProtectConfig)
        computed["settings"] = {
            name: value for name, value in computed["settings"].items()
            if name in stated["settings"] or name not in known
        }  # fmt: skip
    yield from (Failure(FILE, "", problem) for problem in differences(stated, computed))


def _is_canonical(shards: Shards) -> bool:
    try:
        return manifest_bytes(shards.manifest) == (shards.directory / FILE).read_bytes()
    except ValueError:  # a text that cannot be encoded
        return False


def config_of(shards: Shards) -> ProtectConfig:
    """The settings that the manifest states; those that its method does not read have the preset's values.

    Raises `SettingError` where a name is unknown or a value impossible.
    """
    settings = dict(shards.manifest["settings"])
    return protect_config(settings.pop("preset"), shards.size, settings["precision"], settings)


def _content(shards: Shards, config: ProtectConfig) -> ManifestContent:
    """What the manifest was written from, as far as it says."""
    stated = shards.manifest
    fields = Fields(config.format, config.keep_metadata, tuple(stated["fields"]["carried"]))
    counts, made_on = stated["counts"], stated.get("made_on", {})
    return ManifestContent(
        config, shards.classes, shards.size, fields, _Stats(shards), counts["inputs"], counts["duplicates"], made_on,
        stated.get("history", []),
    )  # fmt: skip


class _Stats(Collection[ShardStats]):
    """The stats of all shards, by what the manifest says of them."""

    def __init__(self, shards: Shards) -> None:
        self._records = shards.records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[ShardStats]:
        return (stats_of(record, number) for number, record in enumerate(self._records))

    def __contains__(self, stats: object) -> bool:
        return any(each == stats for each in self)


def stats_of(entry: Mapping[str, Any], number: int, rejected: int = 0) -> ShardStats:
    """The stats of a shard by its entry in the manifest, which does not say how many inputs were rejected."""
    return ShardStats(shard=number, rejected=rejected, **{name: v for name, v in entry.items() if name != "name"})


def differences(stated: Any, computed: Any, name: str = "") -> Iterator[str]:
    """Where a JSON value differs from what it should be, also in the order of names; other names at the top pass."""
    if isinstance(stated, dict) and isinstance(computed, dict):
        own = [each for each in stated if name or each in computed]
        if own != list(computed) and set(own) == set(computed):
            yield f"{name or 'all of it'} is in another order"
        for each in sorted({*own} | computed.keys()):
            here = f"{name}.{each}" if name else each
            if each in stated and each in computed:
                yield from differences(stated[each], computed[each], here)
            elif each in stated or computed[each]:
                yield f"{here} {'does not belong there' if each in stated else 'is missing'}"
    elif isinstance(stated, list) and isinstance(computed, list) and len(stated) == len(computed):
        for place, pair in enumerate(zip(stated, computed, strict=True)):
            yield from differences(*pair, f"{name}[{place}]")
    elif stated != computed or type(stated) is not type(computed):
        yield f"{name} is {stated!r}, it should be {computed!r}"
