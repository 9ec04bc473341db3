"""The folder of a report: complete, private, and tied to the shards that it is of."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import semshard
from tests.support.runs import TINY
from tests.support.verification import PLAIN


def test_the_report_is_complete_private_and_tied_to_the_manifest(verified):
    home, found = verified
    folder = home / "shards.report"
    assert folder.stat().st_mode & 0o777 == 0o700
    report = json.loads((folder / "report.json").read_text())
    assert report["manifest_sha256"] == hashlib.sha256((home / "shards/manifest.json").read_bytes()).hexdigest()
    final = [figures["final"] for each in report["attackers"] for figures in each["data"].values()]
    assert final == [r.final for r in found.results]
    assert report["attackers"][1]["rho_a"] == "2/255"
    assert report["schema_version"] == 7
    assert report["verdict"] == found.verdict
    assert len(report["noise"]["ssim"]["values"]) == 40
    statement = json.loads((folder / "report.intoto.json").read_text())
    assert statement["subject"] == [{"name": "manifest.json", "digest": {"sha256": report["manifest_sha256"]}}]
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    (of_report,) = statement["predicate"]["configuration"]
    assert of_report["digest"]["sha256"] == hashlib.sha256((folder / "report.json").read_bytes()).hexdigest()
    tests = [name for result in ("passed", "warned", "failed") for name in statement["predicate"][f"{result}Tests"]]
    assert sorted(tests) == sorted(each.attacker.name for each in found.attackers)
    assert not [path for path in (home / "shards").iterdir() if "report" in path.name]


def test_a_report_cannot_be_passed_off_for_other_shards(verified, images, tmp_path):
    home, _ = verified
    report = home / "shards.report"
    assert semshard.audit(home / "shards", report=report).ok
    semshard.protect(images, tmp_path / "others", **(TINY | {"rho_u": "4/255"}))
    (failure,) = semshard.audit(tmp_path / "others", report=report).failures
    assert (failure.where, failure.problem.split(":")[0]) == ("report.intoto.json", "belongs to other shards")
    genuine = (report / "report.json").read_text()
    assert '"verdict": "' in genuine
    (report / "report.json").write_text(genuine.replace('"verdict": "', '"verdict": "really '))
    (failure,) = semshard.audit(home / "shards", report=report).failures
    assert failure.where == "report.json"
    (report / "report.intoto.json").unlink()
    assert "missing" in semshard.audit(home / "shards", report=report).failures[0].problem


def test_the_page_contains_everything_it_shows(verified):
    home, found = verified
    page = (home / "shards.report" / "report.html").read_text()

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            links.extend(value for name, value in attrs if name in ("src", "href"))

    links = []
    Links().feed(page)
    assert len(links) >= 3
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"url\((?!data:)|@import", page)
    for each in found.attackers:
        assert each.attacker.name in page
    assert found.verdict["sentence"] in page
    for line in found.not_tried:
        assert line in page
    assert str(Path(found.report).parent) not in page


def test_a_report_needs_complete_shards_and_is_never_written_among_them(finished):
    shards = finished / "shards"
    with pytest.raises(semshard.OutputError, match="is inside the shards"):
        semshard.verify(shards, report=shards / "report", rho_a="0", **PLAIN)
    assert semshard.audit(shards).ok
    tar = shards / "00001.tar"
    tar.write_bytes(tar.read_bytes() + b"\0" * 512)
    with pytest.raises(semshard.ShardError, match=r"00001\.tar is not the tar that the manifest names"):
        semshard.verify(shards, rho_a="0", **PLAIN)
