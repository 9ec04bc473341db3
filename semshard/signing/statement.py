"""What is signed: an in-toto Statement v1 about the files of a public folder, with an SLSA Provenance v1 predicate.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance. The
subject is the manifest and every data file. README.md and croissant.json follow from the manifest, and may get a
verdict later, so they are not in it.

Everything in it follows from the folder, except the digest of the source, which the ledger knows, and the two times.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MANIFEST = "manifest.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
_BUILD, _BUILDER = "urn:semshard:protect:1", "urn:semshard:protect"
_SOURCE = "the SHA-256 values of the source's files, 32 bytes each, sorted and joined"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Origin:
    """What the folder itself does not say of its making; None where nobody knows."""

    source: str | None = None  # SHA-256, in hex, over those of the source's files
    started: str | None = None  # when the run took possession of the folder, RFC 3339
    finished: str | None = None  # when the manifest was written


def source_digest(digests: Iterable[bytes | None]) -> str:
    """One SHA-256 over those of the source's files, in hex. It names no file, and does not depend on their order."""
    return hashlib.sha256(b"".join(sorted(filter(None, digests)))).hexdigest()


def statement(manifest: Mapping[str, Any], files: Mapping[str, str], origin: Origin) -> dict[str, Any]:
    """The statement about published `files`, SHA-256 in hex by name."""
    times = {"startedOn": origin.started, "finishedOn": origin.finished}
    source = {"name": "source", "digest": {"sha256": origin.source}, "annotations": {"sha256": _SOURCE}}
    made_on = manifest.get("made_on", {})
    versions = {"semshard": manifest["tool"]["version"], **{n: made_on[n] for n in ("torch", "device") if n in made_on}}
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in files.items()],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": manifest["settings"],
                "resolvedDependencies": [source] if origin.source else [],
            },
            "runDetails": {
                "builder": {"id": _BUILDER, "version": versions},
                "metadata": {name: time for name, time in times.items() if time},
            },
        },
    }


def payload_of(value: Mapping[str, Any]) -> bytes:
    """The statement as it is signed: the same statement gives the same bytes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def statement_problems(
    payload: bytes, manifest: Mapping[str, Any], files: Mapping[str, str], source: str | None
) -> Iterator[str]:
    """Where a signed payload is not the statement about published `files`, SHA-256 in hex by name; none if it is. The
    digest of the `source` is compared where it is known.
    """
    try:
        given = json.loads(payload)
        origin = _stated_origin(given)
        subject = {each["name"]: each["digest"]["sha256"] for each in given["subject"]}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        yield "its payload is not a statement about shards"
        return
    for name in sorted(files.keys() | subject.keys()):
        if name not in subject:
            yield f"says nothing of {name}"
        elif name not in files:
            yield f"speaks of {name}, which is not of these shards"
        elif files[name] != subject[name]:
            yield f"was made for another {name}"
    if source and origin.source and origin.source != source:
        yield "was made for another source than the ledger knows"
    expected = statement(manifest, files, origin)
    if files == subject and payload_of(expected) != payload:
        yield "its statement is not the one that follows from the manifest"


def _stated_origin(given: Any) -> Origin:
    """What a statement says of source and times. Raises `ValueError` where they have another form."""
    predicate = given["predicate"]
    metadata, sources = predicate["runDetails"]["metadata"], predicate["buildDefinition"]["resolvedDependencies"]
    times = metadata.get("startedOn"), metadata.get("finishedOn")
    source = sources[0]["digest"]["sha256"] if sources else None
    for value, form in ((times[0], _TIME), (times[1], _TIME), (source, _SHA256)):
        if value is not None and not form.fullmatch(value):
            raise ValueError(value)
    return Origin(source, *times)
