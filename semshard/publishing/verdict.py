"""The verdict of a verification, without the pictures and the curves of its report: verification.json.

The report itself stays private, for it shows clean images. What is published of it is a copy that the owner asks for.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..atomic import json_bytes
from ..errors import ShardError, UsageError
from ..shards.attestation import problems

FILE = "verification.json"
SCHEMA_VERSION = 1
_OF_ATTACKER = ("name", "verdict", "retained_share", "share_interval")


def verdict_of(report: Path, manifest_sha256: str) -> dict[str, Any]:
    """What is published of the report in a folder. Raises `UsageError` where it is damaged or one of other shards."""
    for file, problem in problems(report, manifest_sha256):
        raise UsageError(f"{report / file} {problem}; run semshard verify on these shards")
    data = (report / "report.json").read_bytes()
    try:
        about = json.loads(data)
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": {name: about["tool"][name] for name in ("name", "version")},
            "manifest_sha256": manifest_sha256,
            "report_sha256": hashlib.sha256(data).hexdigest(),
            "verdict": {name: about["verdict"][name] for name in ("attacker", "verdict", "sentence", "theory")},
            "rule": about["rule"],
            "chance": about["chance"],
            "samples": {name: about["samples"][name] for name in ("train", "test")},
            "attackers": [_attacker(attacker) for attacker in about["attackers"]],
            "not_tried": list(about["not_tried"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{report}/report.json is of another version of semshard ({error!r})") from None


def _attacker(attacker: dict[str, Any]) -> dict[str, Any]:
    data = attacker["data"]
    best = {kind: data[kind]["best"] for kind in ("clean", "protected", "control", "rest") if kind in data}
    return {**{name: attacker[name] for name in _OF_ATTACKER}, "seeds": len(data["protected"]["seeds"]), "best": best}


def read_verdict(directory: Path, manifest_sha256: str) -> dict[str, Any] | None:
    """What verification.json says; None where there is none. Raises `ShardError` where it is damaged or of another
    manifest.
    """
    path = directory / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        verdict = json.loads(data)
        canonical = json_bytes(verdict)
    except ValueError as error:
        raise ShardError(f"{path} is damaged ({error})") from None
    if data != canonical or not isinstance(verdict, dict) or verdict.get("schema_version") != SCHEMA_VERSION:
        raise ShardError(f"{path} is not what semshard writes")
    if verdict.get("manifest_sha256") != manifest_sha256:
        raise ShardError(f"{path} belongs to another manifest")
    return verdict
