"""What an object store's refusal means, in words of ours.

The text of a library or a server is never repeated: it may hold addresses with signatures, key numbers, and whole
answers of the server. Only the status and the store's own short code are taken from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z]{1,40})</Code>|\"reason\": ?\"([A-Za-z]{1,40})\"")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_MACHINE = (
    "169.254.169.254",
    "169.254.170.2",
    "metadata.google.internal",
    "metadata/identity",
)  # where roles are asked
_LATER = {408, 425, 429, 500, 502, 503, 504, 507, 509}
_LATER_CODES = {"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"}


@dataclass(frozen=True)
class Problem:
    """Why a request failed."""

    words: str
    passes: bool = False  # whether another attempt may succeed
    is_missing: bool = False  # the object is not there; the bucket is


def problem_of(kind: str, text: str, timeout: float) -> Problem:
    """The problem behind an error of obstore: the name of its class, its text, and how long was waited, in seconds."""
    status = int(found[1]) if (found := _STATUS.search(text)) else 0
    code = next(filter(None, found.groups())) if (found := _CODE.search(text)) else ""
    answer = f"{status} ({code})" if code else str(status)
    if any(mark in text for mark in _NO_BUCKET):
        return Problem("there is no such bucket")
    if any(mark in text for mark in _MACHINE):
        return Problem("no credentials: the environment has none, and this machine has no role that gives some")
    if kind == "FileNotFoundError" or status == 404:
        return Problem("is missing", is_missing=True)
    if code in _LATER_CODES or status in _LATER:
        return Problem(f"the store answered {answer}", passes=True)
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or status in (401, 403):
        return Problem(f"access is refused{f' ({code})' * bool(code)} with the credentials of the environment")
    if status:
        return Problem(f"the store answered {answer}")
    if kind != "GenericError":
        return Problem(f"the request was not made ({kind})")
    if "BadScheme" in text:
        return Problem("the address is http://, which the environment must allow, for S3 by AWS_ALLOW_HTTP=true")
    if "kind: Timeout" in text or "TimedOut" in text:
        return Problem(f"no answer within {timeout:g} s", passes=True)
    if "HTTP error" in text or "kind: " in text:
        return Problem("the store cannot be reached, or the connection broke", passes=True)
    return Problem("the answer of the store was not understood")
