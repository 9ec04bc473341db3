"""Keys: encrypted, for their owner only, never overwritten; and the errors where one cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

import semshard
from semshard.signing import load_signer, load_verifier

PASSPHRASE = "a horse, a battery; größer"


@pytest.fixture
def pair(tmp_path):
    return semshard.keygen(tmp_path / "owner.key", PASSPHRASE)


def test_a_private_key_is_encrypted_pkcs8_and_for_its_owner_only(pair):
    with open(pair.private, "rb") as file:
        data = file.read()
    assert data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert os.stat(pair.private).st_mode & 0o777 == 0o600
    private = load_pem_private_key(data, PASSPHRASE.encode())
    with open(pair.public, "rb") as file:
        public = load_pem_public_key(file.read())
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    assert private.public_key() == public
    assert load_signer(pair.private, PASSPHRASE).verifier.keyid == pair.keyid == load_verifier(pair.public).keyid


def test_a_mode_that_the_mask_would_widen_stays_0600(tmp_path):
    before = os.umask(0)
    try:
        pair = semshard.keygen(tmp_path / "owner.key", PASSPHRASE)
    finally:
        os.umask(before)
    assert os.stat(pair.private).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["owner.key", "owner.key.pub"])
def test_no_key_is_overwritten(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(semshard.OutputError, match=r"never overwritten"):
        semshard.keygen(tmp_path / "owner.key", PASSPHRASE)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_key_does_not_go_among_shards(finished):
    with pytest.raises(semshard.OutputError, match="published"):
        semshard.keygen(finished / "shards" / "owner.key", PASSPHRASE)


def test_a_wrong_passphrase_opens_nothing_and_is_not_repeated(pair):
    for wrong in ("a horse", PASSPHRASE + " "):
        with pytest.raises(semshard.SettingError, match="passphrase is wrong") as error:
            load_signer(pair.private, wrong)
        assert wrong not in str(error.value)
    with pytest.raises(semshard.SettingError, match="empty"):
        load_signer(pair.private, "")
    for wrong, words in (("", "empty"), ("\udcff", "not text in UTF-8"), ("x" * 2000, "more than 1,023 bytes")):
        with pytest.raises(semshard.SettingError, match=words):
            semshard.keygen(pair.private + "2", wrong)
        assert not Path(pair.private + "2").exists()


def test_an_open_key_does_not_show_itself(pair):
    signer = load_signer(pair.private, PASSPHRASE)
    assert repr(signer) == f"Signer(keyid={pair.keyid!r})"


def private_bytes(key, lock):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: private_bytes(ed25519.Ed25519PrivateKey.generate(), NoEncryption()), "not an encrypted private key"),
        (
            lambda: private_bytes(
                ec.generate_private_key(ec.SECP256R1()), BestAvailableEncryption(PASSPHRASE.encode())
            ),
            "not an Ed25519 key",
        ),
        (lambda: b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nnonsense\n", "wrong, or the file is damaged"),
        (lambda: b"nothing", "not an encrypted private key"),
    ],
)
def test_other_private_keys_are_refused_with_the_reason(tmp_path, make, reason):
    (tmp_path / "other.key").write_bytes(make())
    with pytest.raises(semshard.SettingError, match=reason):
        load_signer(tmp_path / "other.key", PASSPHRASE)


def test_other_public_keys_are_refused_with_the_reason(tmp_path, pair):
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    (tmp_path / "ec.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "none.pub").write_bytes(b"nothing")
    for path, reason in (
        (tmp_path / "ec.pub", "not a public Ed25519 key"),
        (tmp_path / "none.pub", "not a public Ed25519 key"),
        (pair.private, "is a private key"),
        (tmp_path / "missing", "there is no key"),
    ):
        with pytest.raises(semshard.SettingError, match=reason):
            load_verifier(path)


def test_without_the_libraries_it_is_said_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['securesystemslib.signer'] = sys.modules['cryptography'] = None\n"
        "import semshard\n"
        f"semshard.keygen({str(tmp_path / 'owner.key')!r}, 'x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "SettingError: signatures need the libraries" in done.stderr
    assert "pip install 'semshard[sign]'" in done.stderr
    assert not list(tmp_path.iterdir())
