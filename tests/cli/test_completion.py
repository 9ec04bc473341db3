"""Completion in a real bash: commands, options, and the names that options choose from."""

import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """What bash offers for the last of some words."""
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "semshard"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m semshard_cli "$@"\n')
    program.chmod(0o755)
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script = subprocess.run(
        ["bash", "-c", "_SEMSHARD_COMPLETE=source_bash semshard"], env=env, capture_output=True, text=True, timeout=60
    ).stdout
    assert "_semshard_completion" in script

    def offered(*words):
        line = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _semshard_completion "$1"; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{line}", "bash", "semshard", *words],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )  # fmt: skip
        return done.stdout.split()

    return offered


def test_commands_options_and_values_are_completed(complete):
    assert complete("pro") == ["protect"]
    assert complete("protect", "imgs", "--keep-m") == ["--keep-metadata"]
    assert {"rem", "rem-u", "rem-theta"} <= set(complete("protect", "imgs", "--method", "rem"))
    assert complete("verify", "shards", "--countermeasure", "none,ueraser-") == ["none,ueraser-max"]
