"""manifest.dsse.json: the signed statement in a DSSE envelope.

https://github.com/secure-systems-lab/dsse/blob/master/envelope.md. The file has one form only, so that nothing can be
put into it, or changed in it, that its signature says nothing of.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import json_bytes
from ..digests import read_plain
from ..errors import ShardError

FILE = "manifest.dsse.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SIGNATURE = 64  # bytes of Ed25519


@dataclass(frozen=True)
class Envelope:
    """An envelope of the right form; its signature may still be wrong."""

    content: dict[str, Any]  # as JSON values
    payload: bytes

    @property
    def keyid(self) -> str:
        """The name of the key that has signed it, as the envelope states it."""
        return str(self.content["signatures"][0]["keyid"])


def read_envelope(directory: Path) -> Envelope | None:
    """The envelope of a public folder; None where it is not signed. Raises `ShardError` where it is damaged."""
    try:
        data = read_plain(directory / FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShardError(f"{directory / FILE} cannot be read: {error.strerror}") from None
    try:
        content = json.loads(data)
        (signature,) = content["signatures"]
        payload, signed = _decoded(content["payload"]), _decoded(signature["sig"])
        expected = {
            "payload": _encoded(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": signature["keyid"], "sig": _encoded(signed)}],
        }
        sound = isinstance(signature["keyid"], str) and len(signed) == _SIGNATURE and json_bytes(expected) == data
    except (ValueError, KeyError, TypeError, UnicodeError, binascii.Error):
        sound = False
    if not sound:
        raise ShardError(f"{directory / FILE} is not an envelope that semshard wrote")
    return Envelope(expected, payload)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
