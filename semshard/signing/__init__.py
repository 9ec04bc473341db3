"""Who made the shards, and how: keys, a statement about the folder, and the envelope that it is signed in."""

from .envelope import FILE, PAYLOAD_TYPE, Envelope, read_envelope
from .keys import KeyPair, Signer, Verifier, keygen, load_signer, load_verifier
from .sign import SignResult, refresh_signature, sign, sign_folder
from .statement import payload_of, statement_problems

__all__ = [
    "FILE",
    "PAYLOAD_TYPE",
    "Envelope",
    "KeyPair",
    "SignResult",
    "Signer",
    "Verifier",
    "keygen",
    "load_signer",
    "load_verifier",
    "payload_of",
    "read_envelope",
    "refresh_signature",
    "sign",
    "sign_folder",
    "statement_problems",
]
