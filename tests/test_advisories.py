"""The check for known vulnerabilities says what it did not check, and fails for what it found, for nothing else."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / ".ci" / "advisories.py"
spec = importlib.util.spec_from_file_location("advisories", PATH)
advisories = importlib.util.module_from_spec(spec)
spec.loader.exec_module(advisories)

CLEAN = {"name": "good", "version": "1.0", "vulns": []}
WEAK = {"name": "weak", "version": "0.9", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.0"], "aliases": ["CVE-1"]}]}
UNKNOWN = {"name": "own", "skip_reason": "Dependency not found on PyPI and could not be audited: own (1.0)"}
EDITABLE = {"name": "semshard", "skip_reason": "distribution marked as editable"}


def test_a_vulnerability_fails_the_check_and_is_named():
    code, lines = advisories.report([CLEAN, WEAK, EDITABLE])
    assert code == 1
    assert lines == [
        "weak 0.9: PYSEC-1; fixed in: 1.0", "2 of 2 packages checked for known vulnerabilities"
    ]  # fmt: skip


def test_an_accepted_advisory_does_not(monkeypatch):
    monkeypatch.setitem(advisories.ACCEPTED, "CVE-1", "that function is not called")
    assert advisories.report([WEAK])[0] == 0


def test_what_was_not_checked_is_said():
    assert advisories.report([CLEAN, UNKNOWN]) == (
        0, ["1 of 2 packages checked for known vulnerabilities", "NOT CHECKED, unknown to PyPI: own"]
    )  # fmt: skip
    code, lines = advisories.report([UNKNOWN, EDITABLE])
    assert code == 0
    assert "NOT CHECKED" in lines[0]


@pytest.mark.slow
def test_without_a_network_nothing_fails_and_it_is_said():
    nowhere = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    done = subprocess.run([sys.executable, PATH], capture_output=True, text=True, timeout=150, env=os.environ | nowhere)
    assert done.returncode == 0, done.stdout
    assert "NOT CHECKED" in done.stdout
