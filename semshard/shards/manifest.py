"""manifest.json: the public half of a run. Its form is `manifest.schema.json`, beside this file.

Of many shards it names the files that list them, see `shard_lists`.
"""

from __future__ import annotations

import functools
import json
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..atomic import atomic_write, json_bytes
from ..digests import read_plain, sha256_if_there
from ..errors import SettingError, ShardError
from ..settings import ProtectConfig, Size, coerce, effective, method_plugin, names_where
from ..storage import Folder, LocalFolder
from . import shard_lists
from .damage import damage
from .fields import Fields
from .names import digits_for, tar_name
from .shard_lists import ShardRecords, Write
from .writer import ShardStats

FILE = "manifest.json"
SCHEMA_VERSION = 2  # where it lists the shards itself
WITH_LISTS = 3  # where other files do
ADDITIONS = ("retry-rejects", "extend")  # actions of the history that add shards
CARD_REVISION = 1  # of README.md and croissant.json: raised whenever the same manifest would give others
_PRIVATE = ("seed",)
_RADII = names_where(ProtectConfig, radius=True)


@dataclass(frozen=True)
class ManifestContent:
    """What is published of a finished run."""

    config: ProtectConfig
    classes: tuple[str, ...]
    size: Size  # of every image; None where each has its own
    fields: Fields
    shards: Collection[ShardStats]  # in order
    inputs: int  # of which those that are no samples were rejected
    duplicates: int  # samples with the pixels of an earlier one
    made_on: Mapping[str, str]  # the kind of the device, and torch's version: what the bytes depend on, too
    history: Sequence[Mapping[str, Any]] = ()  # what was changed since the run was finished


def write_manifest(directory: Path, content: ManifestContent, tool_version: str) -> dict[str, Any]:
    """Write the manifest of finished shards, last of its files, and return it."""

    def write(name: str, data: bytes) -> None:
        with atomic_write(directory / name) as file:
            file.write(data)

    manifest = manifest_of(content, tool_version, write)
    with atomic_write(directory / FILE) as file:
        file.write(manifest_bytes(manifest))
    return manifest


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The one way in which a manifest is written. Raises `ValueError` where a text in it cannot be encoded."""
    return json_bytes({name: value for name, value in manifest.items() if not isinstance(value, ShardRecords)})


def manifest_sha256(directory: Path) -> str:
    """SHA-256 of the manifest that lies there, in hex; empty where there is none."""
    return sha256_if_there(directory / FILE)


def manifest_of(content: ManifestContent, tool_version: str, write: Write = lambda name, data: None) -> dict[str, Any]:
    """The manifest of finished shards. It holds no time and no path: equal runs, equal bytes. Other files that belong
    to it are handed to `write`.
    """
    config, size, totals = content.config, content.size, _Totals()
    listed: dict[str, Any] = (
        {"shards": list(totals.counted(content))}
        if len(content.shards) <= shard_lists.MOST
        else {"shard_lists": shard_lists.list_files(totals.counted(content), write)}
    )
    one = {"height": size[0], "width": size[1]} if size else {}
    labels = {"from": "groups", "groups": config.groups, "experimental": True} if config.groups else {"from": "source"}
    manifest = {
        "schema_version": SCHEMA_VERSION if "shards" in listed else WITH_LISTS,
        "card": CARD_REVISION,
        "tool": {"name": "semshard", "version": tool_version},
        "made_on": dict(content.made_on),
        "settings": {name: value for name, value in effective(config).items() if name not in _PRIVATE},
        **_plugins(config),
        "classes": list(content.classes),
        "labels": labels,
        "image": {"sizes": "one" if size else "own", **one, "channels": "RGB", "bits": 8},
        "fields": content.fields.to_json(),
        "counts": {
            "inputs": content.inputs, "samples": totals.samples, "rejected": content.inputs - totals.samples,
            "duplicates": content.duplicates, "shards": len(content.shards),
        },
        "noise": {"linf_max": totals.linf_max, "psnr_mean": totals.psnr_mean},
        **listed,
    }  # fmt: skip
    return manifest | ({"history": [dict(entry) for entry in content.history]} if content.history else {})


class _Totals:
    """What all shards have together, once their records have passed."""

    def __init__(self) -> None:
        self.samples, self.linf_max, self._weighted = 0, 0, array("d")

    def counted(self, content: ManifestContent) -> Iterator[dict[str, Any]]:
        """The records of the shards."""
        digits = digits_for(len(content.shards))
        for stats in content.shards:
            self.samples += stats.samples
            self.linf_max = max(self.linf_max, stats.linf_max)
            self._weighted.append(stats.psnr_mean * stats.samples)
            record = {"name": tar_name(stats.shard, digits), **vars(stats)}
            yield {name: value for name, value in record.items() if name not in ("shard", "rejected")}

    @property
    def psnr_mean(self) -> float:
        """In dB, over all samples."""
        return round(sum(self._weighted) / self.samples, 4) if self.samples else 0.0


def _plugins(config: ProtectConfig) -> dict[str, Any]:
    """What other packages had a part in the bytes; empty where none had."""
    method = method_plugin(config.method)
    return {"plugins": [method.to_json()]} if method else {}


def read_manifest(directory: Path, files: Folder | None = None) -> dict[str, Any]:
    """The manifest of a folder of shards. Raises `ShardError` where there is none, or it is not of the schema. Where
    other files list the shards, its `shards` read them as they are asked for, from `files` where these are elsewhere.
    """
    path = directory / FILE
    with damage(path):
        try:
            manifest = json.loads(read_plain(path))
        except FileNotFoundError:
            hint = "the folder does not exist" if not directory.is_dir() else "was protect interrupted? run it again"
            raise ShardError(f"{directory} holds no {FILE}: {hint}") from None
        except ValueError as error:
            raise ShardError(f"{path} is not valid JSON ({error})") from None
        problems = check_manifest(manifest)
        if problems:
            raise ShardError(f"{path}: {problems[0]}")
        try:
            coerce(ProtectConfig, {name: manifest["settings"][name] for name in _RADII if name in manifest["settings"]})
        except SettingError as error:
            raise ShardError(f"{path}: {error}") from None
        lists = manifest.get("shard_lists")
        return dict(manifest) | ({"shards": ShardRecords(files or LocalFolder(directory), lists)} if lists else {})


def check_manifest(manifest: Any) -> list[str]:
    """Where a manifest breaks its schema; empty if nowhere."""
    return [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(manifest)]


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    text = resources.files(__package__).joinpath("manifest.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def broken_lists(directory: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The names of the files of records that are missing, or not those that a manifest names."""
    files = manifest.get("shard_lists", {"files": []})["files"]
    return [file["name"] for file in files if sha256_if_there(directory / file["name"]) != file["sha256"]]
