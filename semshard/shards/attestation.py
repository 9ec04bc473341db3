"""The report in a form that supply-chain tools read: an in-toto statement with the test-result predicate.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md (v0.1). Its subject is the SHA-256
of the manifest, so that a report cannot be presented for other shards; the report is named by its own SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..digests import sha256_of

_RESULT = {
    "protects": "PASSED",
    "weakens": "WARNED",
    "borderline": "WARNED",
    "does not protect": "FAILED",
    "cannot tell": "WARNED",
}
FILE = "report.intoto.json"


def statement(content: dict[str, Any], manifest_sha256: str, report: bytes) -> dict[str, Any]:
    """The statement for report.json, of which `report` are the bytes and `content` is what they say."""
    names: dict[str, list[str]] = {"PASSED": [], "WARNED": [], "FAILED": []}
    compared = (attacker for attacker in content["attackers"] if attacker["verdict"] != "not compared")
    for attacker in compared:
        names[_RESULT[attacker["verdict"]]].append(attacker["name"])
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "manifest.json", "digest": {"sha256": manifest_sha256}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": _RESULT[content["verdict"]["verdict"]],
            "configuration": [{"name": "report.json", "digest": {"sha256": hashlib.sha256(report).hexdigest()}}],
            "passedTests": names["PASSED"],
            "warnedTests": names["WARNED"],
            "failedTests": names["FAILED"],
        },
    }


def problems(folder: Path, manifest_sha256: str) -> list[tuple[str, str]]:
    """Why the report in `folder` is not one of the shards with that manifest: (file, what is wrong), none if it is."""
    try:
        attestation = json.loads((folder / FILE).read_bytes())
        subject = attestation["subject"][0]["digest"]["sha256"]
        named = attestation["predicate"]["configuration"][0]["digest"]["sha256"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        return [(FILE, f"is missing or damaged ({error!r})")]
    wrong = []
    if subject != manifest_sha256:
        wrong.append((FILE, "belongs to other shards: its subject is not this manifest"))
    report = folder / "report.json"
    if not report.is_file() or sha256_of(report) != named:
        wrong.append(("report.json", f"is not the one that {FILE} names"))
    return wrong
