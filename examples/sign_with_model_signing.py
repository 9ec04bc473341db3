"""Sign shards with OpenSSF model-signing, for those who check models and data sets with its tools.

python examples/sign_with_model_signing.py SHARDS OUT

Makes a key pair in OUT (ECDSA on P-256, which model-signing asks for; encrypted with the passphrase in the environment
variable SIGNING_PASSPHRASE), signs every file of the folder, README.md and a signature of semshard included, and
verifies the signature. Needs no network. pip install model-signing pyopenssl (which it imports and does not ask for)
"""

import os
import sys
from pathlib import Path

import model_signing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def main(shards: str, out: str) -> None:
    home, passphrase = Path(out), os.environ["SIGNING_PASSPHRASE"].encode()
    private, public, signature = home / "model.key", home / "model.key.pub", home / "shards.sig"
    make_keys(private, public, passphrase)
    model_signing.signing.Config().use_elliptic_key_signer(private_key=private, password=passphrase).sign(
        shards, signature
    )
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(shards, signature)
    print(f"signed and verified: {signature}")


def make_keys(private: Path, public: Path, passphrase: bytes) -> None:
    private.parent.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    locked = serialization.BestAvailableEncryption(passphrase)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(pem, pkcs8, locked))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))


if __name__ == "__main__":
    main(*sys.argv[1:])
