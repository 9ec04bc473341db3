"""Ed25519 keys (RFC 8032) in PEM files: the private one as PKCS 8, encrypted with a passphrase, and the public one.

securesystemslib signs and verifies with them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError, SettingError
from .library import library
from .statement import MANIFEST

_PUBLIC = ".pub"  # the public key of FILE is FILE.pub
_LONGEST_PASSPHRASE = 1023  # bytes that OpenSSL takes


@dataclass(frozen=True)
class KeyPair:
    """The files of a new key, and the name that signatures give it."""

    private: str
    public: str
    keyid: str


@dataclass(frozen=True)
class Signer:
    """A private key, unlocked. Its text does not show it."""

    _signer: Any  # of securesystemslib

    def __repr__(self) -> str:
        return f"Signer(keyid={self.verifier.keyid!r})"

    @property
    def verifier(self) -> Verifier:
        """The public key that goes with it."""
        return Verifier(self._signer.public_key)

    def sign(self, payload: bytes, payload_type: str) -> dict[str, Any]:
        """A DSSE envelope of the payload, as JSON values."""
        envelope = library("securesystemslib.dsse").Envelope(payload, payload_type, {})
        envelope.sign(self._signer)
        return dict(envelope.to_dict())


@dataclass(frozen=True)
class Verifier:
    """A public key."""

    _key: Any  # of securesystemslib

    @property
    def keyid(self) -> str:
        """The name that signatures give the key: a SHA-256 of it, in hex."""
        return str(self._key.keyid)

    def verifies(self, envelope: dict[str, Any]) -> bool:
        """Whether a DSSE envelope, as JSON values of the right form, is signed with this key."""
        copied = envelope | {"signatures": [dict(each) for each in envelope["signatures"]]}  # from_dict changes them
        try:
            library("securesystemslib.dsse").Envelope.from_dict(copied).verify([self._key], 1)
        except (library("securesystemslib.exceptions").Error, ValueError):
            return False
        return True


def keygen(path: str | Path, passphrase: str) -> KeyPair:
    """Make an Ed25519 key pair: the private key in the file `path`, encrypted with the `passphrase`, for its owner only
    (mode 0600); the public one, which may be published, in `<path>.pub`.

    Raises `OutputError` where one of the files exists (a key is never overwritten) or would lie among shards, which are
    published; `SettingError` for an empty passphrase, or where the extra `sign` is not installed.
    """
    path = Path(path)
    public = path.with_name(path.name + _PUBLIC)
    _check_passphrase(passphrase)
    if (path.absolute().parent / MANIFEST).exists():
        raise OutputError(f"{path} would lie among shards, which are published; choose another folder for the key")
    for file in (path, public):
        if file.exists():
            raise _exists(file)
    private = library("cryptography.hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey.generate()
    form = library("cryptography.hazmat.primitives.serialization")
    locked = form.BestAvailableEncryption(passphrase.encode())
    encrypted = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked)
    open_to_all = private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _create(public, open_to_all, 0o644)
    try:
        _create(path, encrypted, 0o600)
    except BaseException:
        public.unlink()
        raise
    return KeyPair(str(path), str(public), load_verifier(public).keyid)


def load_signer(path: str | Path, passphrase: str) -> Signer:
    """The private key in a file that `keygen` wrote. Raises `SettingError` where there is none, or the passphrase does
    not open it.
    """
    data, form = _read(path), library("cryptography.hazmat.primitives.serialization")
    _check_passphrase(passphrase)
    if b"BEGIN ENCRYPTED PRIVATE KEY" not in data:
        raise SettingError(f"{path} is not an encrypted private key (PEM, PKCS 8); semshard keygen makes one")
    try:
        private = form.load_pem_private_key(data, passphrase.encode())
    except (ValueError, library("cryptography.exceptions").UnsupportedAlgorithm):
        raise SettingError(f"{path}: the passphrase is wrong, or the file is damaged") from None
    if not isinstance(private, library("cryptography.hazmat.primitives.asymmetric.ed25519").Ed25519PrivateKey):
        raise SettingError(f"{path} is not an Ed25519 key; semshard keygen makes one")
    return Signer(library("securesystemslib.signer").CryptoSigner(private))


def load_verifier(path: str | Path) -> Verifier:
    """The public key in a file that `keygen` wrote. Raises `SettingError` where there is none."""
    data, form = _read(path), library("cryptography.hazmat.primitives.serialization")
    if b"PRIVATE KEY" in data:
        raise SettingError(f"{path} is a private key; give the public one, {path}{_PUBLIC}")
    try:
        public = form.load_pem_public_key(data)
    except (ValueError, library("cryptography.exceptions").UnsupportedAlgorithm):
        public = None
    if not isinstance(public, library("cryptography.hazmat.primitives.asymmetric.ed25519").Ed25519PublicKey):
        raise SettingError(f"{path} is not a public Ed25519 key (PEM)")
    return Verifier(library("securesystemslib.signer").SSlibKey.from_crypto(public))


def _check_passphrase(passphrase: str) -> None:
    if not passphrase:
        raise SettingError("the passphrase of a private key must not be empty")
    try:
        size = len(passphrase.encode())
    except UnicodeEncodeError:  # of an environment variable in another encoding
        raise SettingError("the passphrase is not text in UTF-8") from None
    if size > _LONGEST_PASSPHRASE:
        raise SettingError(f"the passphrase has more than {_LONGEST_PASSPHRASE:,} bytes")


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise SettingError(f"there is no key at {path}") from None


def _create(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there yet, readable by others only as `mode` says from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    except FileExistsError:
        raise _exists(path) from None
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
    except BaseException:
        path.unlink()
        raise


def _exists(path: Path) -> OutputError:
    return OutputError(f"{path} exists; a key is never overwritten, choose another name")
