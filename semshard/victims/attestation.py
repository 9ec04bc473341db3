"""The report in a form that supply-chain tools read: an in-toto statement with the test-result predicate.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md (v0.1). Its subject is the manifest by
its SHA-256, so that the report cannot be passed off for other shards; the report itself is named by its own.
"""

from __future__ import annotations

import hashlib
from typing import Any

from .verdict import Word

_RESULT: dict[Word, str] = {
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
