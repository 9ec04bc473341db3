"""The report in a form that supply-chain tools read: an in-toto statement with the test-result predicate.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md (v0.1). Its subject is the manifest by
its SHA-256, so that the report cannot be passed off for other shards; the report itself is named by its own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_RESULT = {
    "protects": "PASSED",
    "weakens": "WARNED",
    "does not protect": "FAILED",
    "cannot tell": "WARNED",
}
FILE = "report.intoto.json"


def statement(about: dict[str, Any], manifest_sha256: str, report: bytes) -> dict[str, Any]:
    """The statement for report.json, of which `about` is the content and `report` are the bytes."""
    names: dict[str, list[str]] = {"PASSED": [], "WARNED": [], "FAILED": []}
    for attacker in about["attackers"]:
        names[_RESULT[attacker["word"]]].append(attacker["name"])
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "manifest.json", "digest": {"sha256": manifest_sha256}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": _RESULT[about["verdict"]["word"]],
            "configuration": [{"name": "report.json", "digest": {"sha256": hashlib.sha256(report).hexdigest()}}],
            "passedTests": names["PASSED"],
            "warnedTests": names["WARNED"],
            "failedTests": names["FAILED"],
        },
    }


def problems(folder: Path, manifest_sha256: str) -> list[tuple[str, str]]:
    """Why the report in `folder` is not one of the shards with that manifest: (file, what is wrong); empty if it is."""
    try:
        stated = json.loads((folder / FILE).read_bytes())
        subject = stated["subject"][0]["digest"]["sha256"]
        vouched = stated["predicate"]["configuration"][0]["digest"]["sha256"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        return [(FILE, f"is missing or damaged ({error!r})")]
    found = []
    if subject != manifest_sha256:
        found.append((FILE, "is of other shards: its subject is not this manifest"))
    report = folder / "report.json"
    if not report.is_file() or hashlib.sha256(report.read_bytes()).hexdigest() != vouched:
        found.append(("report.json", f"is not the one that {FILE} names"))
    return found
