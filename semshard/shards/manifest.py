"""manifest.json: the public half of a run. Its form is `manifest.schema.json`, beside this file."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..atomic import atomic_write, json_bytes
from ..digests import read_plain, sha256_if_there
from ..errors import SettingError, ShardError
from ..settings import ProtectConfig, Size, coerce, effective, method_plugin, names_where
from .damage import damage
from .fields import Fields
from .writer import ShardStats, shard_name

FILE = "manifest.json"
SCHEMA_VERSION = 2
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
    shards: list[ShardStats]
    rejected: int  # inputs
    duplicates: int  # samples with the pixels of an earlier one
    made_on: Mapping[str, str]  # the kind of the device, and torch's version: what the bytes depend on, too
    history: Sequence[Mapping[str, Any]] = ()  # what was changed since the run was finished


def write_manifest(directory: Path, content: ManifestContent, tool_version: str) -> dict[str, Any]:
    """Write the manifest of finished shards and return it."""
    manifest = manifest_of(content, tool_version)
    with atomic_write(directory / FILE) as file:
        file.write(manifest_bytes(manifest))
    return manifest


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The one way in which a manifest is written. Raises `ValueError` where a text in it cannot be encoded."""
    return json_bytes(manifest)


def manifest_sha256(directory: Path) -> str:
    """SHA-256 of the manifest that lies there, in hex; empty where there is none."""
    return sha256_if_there(directory / FILE)


def manifest_of(content: ManifestContent, tool_version: str) -> dict[str, Any]:
    """The manifest of finished shards. It holds no time and no path: equal runs, equal bytes."""
    config, size, shards = content.config, content.size, content.shards
    samples = sum(stats.samples for stats in shards)
    one = {"height": size[0], "width": size[1]} if size else {}
    labels = {"from": "groups", "groups": config.groups, "experimental": True} if config.groups else {"from": "source"}
    manifest = {
        "schema_version": SCHEMA_VERSION,
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
            "inputs": samples + content.rejected, "samples": samples, "rejected": content.rejected,
            "duplicates": content.duplicates, "shards": len(shards),
        },
        "noise": {
            "linf_max": max((stats.linf_max for stats in shards), default=0),
            "psnr_mean": _weighted_mean([(stats.psnr_mean, stats.samples) for stats in shards]),
        },
        "shards": [
            {
                "name": f"{shard_name(stats.shard)}.tar",
                **{name: value for name, value in asdict(stats).items() if name not in ("shard", "rejected")},
            }
            for stats in shards
        ],
    }  # fmt: skip
    return manifest | ({"history": [dict(entry) for entry in content.history]} if content.history else {})


def _plugins(config: ProtectConfig) -> dict[str, Any]:
    """What other packages had a part in the bytes; empty where none had."""
    method = method_plugin(config.method)
    return {"plugins": [method.to_json()]} if method else {}


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a folder of shards. Raises `ShardError` where there is none, or it is not of the schema."""
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
        return dict(manifest)


def check_manifest(manifest: Any) -> list[str]:
    """Where a manifest breaks its schema; empty if nowhere."""
    return [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(manifest)]


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    text = resources.files(__package__).joinpath("manifest.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def _weighted_mean(pairs: list[tuple[float, int]]) -> float:
    total = sum(weight for _, weight in pairs)
    return round(sum(value * weight for value, weight in pairs) / total, 4) if total else 0.0
