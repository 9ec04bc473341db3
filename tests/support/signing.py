"""A DSSE envelope, made and verified from its specification with nothing but Ed25519.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

import base64
import json
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

PASSPHRASE = "correct horse"


def pae(kind, payload):
    """PAE(type, body) = "DSSEv1" + SP + LEN(type) + SP + type + SP + LEN(body) + SP + body."""
    kind = kind.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def verified(folder, public):
    """The statement in the envelope of a folder, if it is signed with the public key in a file; None otherwise."""
    envelope = json.loads((Path(folder) / "manifest.dsse.json").read_bytes())
    payload = base64.b64decode(envelope["payload"])
    (signature,) = envelope["signatures"]
    try:
        load_pem_public_key(Path(public).read_bytes()).verify(
            base64.b64decode(signature["sig"]), pae(envelope["payloadType"], payload)
        )
    except InvalidSignature:
        return None
    return json.loads(payload)


def write_envelope(folder, private, statement, *, keyid=None, payload=None):
    """Sign a statement, or any payload, as `semshard sign` would, from the specification; the id of the key stays."""
    path = Path(folder) / "manifest.dsse.json"
    envelope = json.loads(path.read_bytes())
    payload = payload or json.dumps(statement, separators=(",", ":"), ensure_ascii=False).encode()
    key = load_pem_private_key(Path(private).read_bytes(), PASSPHRASE.encode())
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(key.sign(pae(envelope["payloadType"], payload))).decode()
    if keyid is not None:
        envelope["signatures"][0]["keyid"] = keyid
    path.write_text(json.dumps(envelope, indent=2, ensure_ascii=False) + "\n")
