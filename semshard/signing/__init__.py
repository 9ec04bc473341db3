"""Who made the shards, and how: keys, a statement about the folder, and the envelope that it is signed in."""

from .envelope import FILE, PAYLOAD_TYPE, Envelope, read_envelope
from .keys import KeyPair, Signer, Verifier, keygen, load_signer, load_verifier
from .statement import Origin, payload_of, source_digest, statement, statement_problems

__all__ = [
    "FILE",
    "PAYLOAD_TYPE",
    "Envelope",
    "KeyPair",
    "Origin",
    "Signer",
    "Verifier",
    "keygen",
    "load_signer",
    "load_verifier",
    "payload_of",
    "read_envelope",
    "source_digest",
    "statement",
    "statement_problems",
]
