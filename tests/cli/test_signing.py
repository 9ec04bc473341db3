"""keygen, sign and audit --key as commands: passphrases from a file, a variable or a prompt."""

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.support.command import semshard

PASSPHRASE = "correct horse"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    return path


@pytest.mark.slow
def test_a_folder_is_signed_and_checked_by_three_commands(finished, tmp_path, secret):
    key, shards = tmp_path / "owner.key", finished / "shards"
    made = json.loads(semshard("keygen", key, "--passphrase-file", secret, "--json").stdout)
    assert made["public"] == f"{key}.pub"
    assert "is missing" in semshard("audit", shards, "--key", f"{key}.pub", expect=1).stdout
    signed = json.loads(semshard("sign", shards, "--key", key, "--passphrase-file", secret, "--json").stdout)
    assert signed["keyid"] == made["keyid"]
    assert "signed, not checked" in semshard("audit", shards).stdout
    checked = json.loads(semshard("audit", shards, "--key", f"{key}.pub", "--json").stdout)
    assert checked["signature"] == "valid"


@pytest.mark.slow
def test_a_passphrase_comes_from_a_variable_and_nobody_waits_for_one(finished, tmp_path, monkeypatch):
    key = tmp_path / "owner.key"
    assert "SEMSHARD_PASSPHRASE" in semshard("keygen", key, expect=2).stderr
    monkeypatch.setenv("SEMSHARD_PASSPHRASE", PASSPHRASE)
    semshard("keygen", key)
    assert "never overwritten" in semshard("keygen", key, expect=2).stderr
    semshard("sign", finished / "shards", "--key", key)
    monkeypatch.setenv("SEMSHARD_PASSPHRASE", "wrong")
    assert "passphrase is wrong" in semshard("sign", finished / "shards", "--key", key, expect=2).stderr


@pytest.mark.timeout(60)
def test_a_new_passphrase_is_asked_for_twice_and_not_shown(tmp_path):
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "semshard_cli", "keygen", str(tmp_path / "owner.key")]
    process = subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    try:
        for prompts in (1, 2):
            while shown.count(b": ") < prompts:
                shown += os.read(ours, 1000)
            os.write(ours, f"{PASSPHRASE}\n".encode())
        while process.poll() is None:
            shown += os.read(ours, 1000)
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    assert PASSPHRASE.encode() not in shown
    assert (tmp_path / "owner.key").exists()
