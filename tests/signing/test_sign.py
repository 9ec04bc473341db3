"""Signed folders: what is in the envelope, what an audit with the public key finds, and interrupted runs."""

import base64
import copy
import hashlib
import json
import random
import signal
import subprocess
import sys

import pytest

import semshard
from semshard.publishing import MADE as DESCRIPTION
from semshard.shards import Ledger
from semshard.signing import read_envelope
from tests.support.runs import TINY, public_bytes
from tests.support.signing import PASSPHRASE, verified, write_envelope

ENVELOPE = "manifest.dsse.json"


@pytest.fixture
def keys(tmp_path):
    return semshard.keygen(tmp_path / "keys" / "owner.key", PASSPHRASE)


@pytest.fixture
def signed(finished, keys):
    semshard.sign(finished / "shards", keys.private, PASSPHRASE)
    return finished / "shards"


def problems(folder, **options):
    return [f"{failure.where}: {failure.problem}" for failure in semshard.audit(folder, **options).failures]


# --- what is signed -------------------------------------------------------------------------------------------------


def test_the_envelope_verifies_by_the_specification_and_says_what_is_there(signed, keys):
    statement, manifest = verified(signed, keys.public), json.loads((signed / "manifest.json").read_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    found = {each["name"]: each["digest"] for each in statement["subject"]}
    files = public_bytes(signed)
    assert len(files) == 3 * len(manifest["shards"]) + 2 + len(DESCRIPTION)
    for unsigned in (ENVELOPE, *DESCRIPTION):  # cards follow from the manifest, and a verdict may be added later
        del files[unsigned]
    assert found == {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    build, run = (statement["predicate"][name] for name in ("buildDefinition", "runDetails"))
    assert build["externalParameters"] == manifest["settings"]
    assert run["builder"]["version"] == {"semshard": manifest["tool"]["version"], **manifest["made_on"]}
    assert run["metadata"]["startedOn"] <= run["metadata"]["finishedOn"]


def test_the_statement_is_one_that_the_types_of_in_toto_accept(signed, keys):
    pytest.importorskip("in_toto_attestation", reason="in-toto-attestation comes with model-signing")
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    statement = verified(signed, keys.public)
    parsed = ParseDict(statement["predicate"], Provenance())  # an unknown field would be an error
    assert parsed.run_details.metadata.finished_on.seconds > 0
    Statement.copy_from_pb(ParseDict(statement, Message())).validate()


def test_the_digest_of_the_source_is_that_of_its_sorted_digests(signed, keys):
    digests = sorted(row.sha256 for row in Ledger(signed.with_name("shards.ledger")).inputs())
    (source,) = verified(signed, keys.public)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"sha256": hashlib.sha256(b"".join(digests)).hexdigest()}
    assert set(source) == {"name", "digest", "annotations"}


def test_protect_signs_as_sign_does(finished, keys):
    shards = finished / "shards"
    before = public_bytes(shards)
    result = semshard.protect(finished / "images", shards, sign_key=keys.private, passphrase=PASSPHRASE, **TINY)
    assert (result.made, result.signed) == (0, True)
    by_protect = public_bytes(shards)
    assert by_protect.items() >= before.items(), "no time goes into any other file"
    assert semshard.sign(shards, keys.private, PASSPHRASE).files == len(before) - len(DESCRIPTION)
    assert public_bytes(shards) == by_protect, "the same key, the same bytes"
    assert semshard.audit(shards, key=keys.public).signature == "valid"


def test_a_wrong_passphrase_stops_protect_before_it_begins(images, tmp_path, keys):
    with pytest.raises(semshard.SettingError, match="passphrase is wrong"):
        semshard.protect(images, tmp_path / "out", sign_key=keys.private, passphrase="wrong", **TINY)
    assert not (tmp_path / "out").exists()


def test_shards_that_are_not_those_of_the_manifest_are_not_signed(finished, keys):
    tar = finished / "shards" / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    with pytest.raises(semshard.ShardError, match=r"00001\.tar is not the file that the manifest names"):
        semshard.sign(finished / "shards", keys.private, PASSPHRASE)
    assert not (finished / "shards" / ENVELOPE).exists()


# --- what an audit says of it ---------------------------------------------------------------------------------------


def test_an_audit_says_whether_a_folder_is_signed(finished, keys, tmp_path):
    shards = finished / "shards"
    assert semshard.audit(shards).signature == "none"
    unsigned = semshard.audit(shards, key=keys.public)
    assert not unsigned.ok
    assert problems(shards, key=keys.public) == [f"{ENVELOPE}: is missing: the folder is not signed"]
    semshard.sign(shards, keys.private, PASSPHRASE)
    assert semshard.audit(shards).ok
    assert semshard.audit(shards).signature == "not checked"
    checked = semshard.audit(shards, key=keys.public)
    assert checked.ok
    assert checked.signature == "valid"
    other = semshard.keygen(tmp_path / "other.key", PASSPHRASE)
    by_other = semshard.audit(shards, key=other.public)
    assert by_other.signature == "invalid"
    assert problems(shards, key=other.public) == [f"{ENVELOPE}: is not signed with the key that was given"]


def test_another_key_under_the_name_of_the_right_one_is_found(signed, keys, tmp_path):
    other = semshard.keygen(tmp_path / "other.key", PASSPHRASE)
    write_envelope(signed, other.private, verified(signed, keys.public), keyid=keys.keyid)
    assert verified(signed, other.public)
    assert any("its signature is wrong" in problem for problem in problems(signed, key=keys.public))


def test_every_flipped_bit_of_an_envelope_is_found(signed, keys):
    from semshard.inspection.signature import audit_signature
    from semshard.signing import load_verifier

    path, random_bit = signed / ENVELOPE, random.Random(0)
    whole, verifier, opened = path.read_bytes(), load_verifier(keys.public), semshard.open_shards(signed)
    assert not audit_signature(opened, verifier)[1]
    for _ in range(300):
        place, bit = random_bit.randrange(len(whole)), 1 << random_bit.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        assert audit_signature(opened, verifier)[1], (place, bit)
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert audit_signature(opened, verifier)[1], cut


def changed(statement, *path, to):
    """A copy of a statement with another value at a place."""
    result = copy.deepcopy(statement)
    inner = result
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return result


TAMPERED = {
    "a digest": lambda s: changed(s, "subject", 1, "digest", "sha256", to="0" * 64),
    "a file less": lambda s: changed(s, "subject", to=s["subject"][:-1]),
    "a file more": lambda s: changed(s, "subject", to=[*s["subject"], {"name": "x", "digest": {"sha256": "0" * 64}}]),
    "another kind": lambda s: changed(s, "predicateType", to="https://example.org/other"),
    "a setting": lambda s: changed(s, "predicate", "buildDefinition", "externalParameters", "rho_u", to="16/255"),
    "a version": lambda s: changed(s, "predicate", "runDetails", "builder", "version", "torch", to="0"),
    "a time with words": lambda s: changed(s, "predicate", "runDetails", "metadata", "startedOn", to="by somebody"),
    "another source": lambda s: changed(
        s, "predicate", "buildDefinition", "resolvedDependencies", 0, "digest", "sha256", to="0" * 64
    ),
    "a field more": lambda s: s | {"more": 1},
    "no statement": lambda s: {"subject": 7},
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_statement_that_is_not_of_the_folder_is_found_though_the_key_is_right(signed, keys, how):
    """By who has the private key, and without the public one, too."""
    write_envelope(signed, keys.private, TAMPERED[how](verified(signed, keys.public)))
    assert verified(signed, keys.public)
    assert any(problem.startswith(ENVELOPE) for problem in problems(signed, key=keys.public))
    assert any(problem.startswith(ENVELOPE) for problem in problems(signed))


def test_a_changed_manifest_is_found_by_the_signature(signed, keys):
    manifest = signed / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"grey": "colour"', '"grey": "keep"'))
    assert problems(signed, key=keys.public)[:1] == [f"{ENVELOPE}: was made for another manifest.json"]


def test_a_payload_without_its_signature_is_found(signed, keys):
    envelope = json.loads((signed / ENVELOPE).read_bytes())
    envelope["payload"] = base64.b64encode(base64.b64decode(envelope["payload"]) + b" ").decode()
    (signed / ENVELOPE).write_text(json.dumps(envelope, indent=2) + "\n")
    assert semshard.audit(signed, key=keys.public).signature == "invalid"
    assert not semshard.audit(signed).ok


def test_without_a_ledger_the_folder_is_signed_without_a_source(finished, keys):
    (finished / "shards.ledger").rename(finished / "elsewhere")
    assert semshard.sign(finished / "shards", keys.private, PASSPHRASE).source is None
    assert semshard.audit(finished / "shards", key=keys.public).ok
    predicate = verified(finished / "shards", keys.public)["predicate"]
    assert predicate["buildDefinition"]["resolvedDependencies"] == []
    assert predicate["runDetails"]["metadata"] == {}


# --- signatures in time ---------------------------------------------------------------------------------------------


def test_a_signature_of_an_earlier_manifest_does_not_stay(signed, keys):
    images, events = signed.with_name("images"), []
    sign = {"sign_key": keys.private, "passphrase": PASSPHRASE}
    assert semshard.protect(images, signed, **TINY).signed
    again = semshard.protect(images, signed, overwrite=True, progress=events.append, **TINY | {"shard_size": 20})
    assert not again.signed
    assert semshard.audit(signed).ok
    assert semshard.audit(signed).signature == "none"
    assert semshard.protect(images, signed, **sign, **TINY | {"shard_size": 20}).signed
    (signed / "manifest.json").unlink()  # written anew with the same bytes: the signature still holds
    assert semshard.protect(images, signed, **TINY | {"shard_size": 20}).signed
    other = semshard.audit(signed, key=keys.public)
    assert other.ok
    assert other.signature == "valid"


KILLED = """
import os, sys
from pathlib import Path
import semshard.atomic as atomic
from semshard.shards.signature import sign
steps, fsync = iter(range(1000)), os.fsync
def killing(handle):
    fsync(handle)
    if next(steps) == int(sys.argv[4]):
        os.kill(os.getpid(), 9)
atomic.os.fsync = killing
sign(sys.argv[1], sys.argv[2], sys.argv[3])
"""


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("earlier", [False, True])
def test_killed_while_signing_there_is_the_old_signature_or_the_new_one(finished, keys, tmp_path, step, earlier):
    shards = finished / "shards"
    old = semshard.keygen(tmp_path / "old.key", PASSPHRASE)
    if earlier:
        semshard.sign(shards, old.private, PASSPHRASE)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, shards, keys.private, PASSPHRASE, str(step)], capture_output=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    envelope = read_envelope(shards)
    keyid = keys.keyid if step else old.keyid if earlier else None
    assert (envelope.keyid if envelope else None) == keyid
    again = semshard.protect(finished / "images", shards, sign_key=keys.private, passphrase=PASSPHRASE, **TINY)
    assert again.signed
    assert semshard.audit(shards, key=keys.public).ok
