"""Shards on an object store are read as those in a folder are: same samples, same audit, same pictures."""

import gc
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import semshard
from semshard.inspection.originals import find_originals
from semshard.settings import verify_config
from semshard.shards import shard_lists
from semshard.storage import FetchedFolder, LocalPlace, open_place
from semshard.verification.load import load_dataset
from tests.support.command import semshard as command
from tests.support.object_store import Fault, place_in
from tests.support.protection import protect
from tests.support.workers import workers

FAULTS = [Fault("refuse"), Fault("drop"), Fault("cut"), Fault("refuse", status=500, code="InternalError")]
ONLY_HERE = "must be a path of this machine: only protect writes into an object store"


def copy(folder: Path, url: str) -> str:
    place = open_place(url)
    for entry in LocalPlace(folder).list():
        place.put(entry.name, folder / entry.name)
    return url


@pytest.fixture
def remote(store, prefix, finished):
    """The URL of a copy of the finished shards."""
    return copy(finished / "shards", f"s3://bucket/{prefix}/shards")


def report(result):
    return json.dumps(result.to_json(), indent=1)


def test_samples_are_those_of_the_folder(finished, remote):
    here, there = semshard.open_shards(finished / "shards"), semshard.open_shards(remote)
    assert (len(there), there.classes, there.keys()) == (len(here), here.classes, here.keys())
    sent = pickle.loads(pickle.dumps(there))
    assert sent.directory != there.directory
    for number in (*range(40), -1, 17, 0):
        for opened in (there, sent):
            assert (opened[number].image == here[number].image).all()
            assert (opened[number].key, opened[number].about) == (here[number].key, here[number].about)


@pytest.mark.slow
def test_an_audit_finds_what_it_finds_in_the_folder(finished, remote, prefix, store):
    ledger = copy(finished / "shards.ledger", f"s3://bucket/{prefix}/private")
    here = semshard.audit(finished / "shards")
    assert here.ok
    assert here.compared == 40
    for each in (finished / "shards.ledger", ledger):
        assert report(semshard.audit(remote, ledger=each)) == report(here)
    alone = semshard.audit(remote)
    assert (alone.ok, alone.checked, alone.compared, alone.linf_max) == (True, 40, 0, None)
    assert report(semshard.audit(remote, clean=finished / "images")) == report(here)


def test_processes_and_parts_of_an_audit_find_what_they_find_in_the_folder(finished, remote):
    flip(LocalPlace(finished / "shards"))
    flip(open_place(remote))
    for part, jobs in ((None, 2), ("2/2", 1)):
        here = semshard.audit(finished / "shards", part=part)
        assert not here.ok
        there = semshard.audit(remote, ledger=finished / "shards.ledger", part=part, workers=workers(jobs))
        assert report(there).replace(remote, str(finished / "shards")) == report(here)


def test_an_audit_by_processes_stops_where_a_shard_cannot_be_read(remote, store, monkeypatch):
    monkeypatch.setattr("semshard.storage.objects.Limits", lambda: place_in(store, remote)._limits)
    store.faults.append(Fault("refuse", times=99, path="00002.tar"))
    with pytest.raises(semshard.StorageError, match=r"s3://.*00002.tar: the store answered 503"):
        semshard.audit(remote, workers=workers(2))


@pytest.mark.slow
def test_files_that_list_the_shards_are_read_there(images, store, prefix, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_lists, "MOST", 1)
    monkeypatch.setattr(shard_lists, "EACH", 2)
    protect(tmp_path, method="sc")
    shards, ledger = tmp_path / "shards", tmp_path / "shards.ledger"
    url = copy(shards, f"s3://bucket/{prefix}/shards")
    here, there = semshard.open_shards(shards), semshard.open_shards(url)
    for opened in (there, pickle.loads(pickle.dumps(there))):
        assert list(opened.records) == list(here.records)
        assert [opened.locate(number) for number in range(40)] == [here.locate(number) for number in range(40)]
        assert opened.keys() == here.keys()
    assert semshard.status(url).phase == "done"

    def same(only=None, jobs=1):
        found = report(semshard.audit(shards, only=only))
        assert (
            report(semshard.audit(url, ledger=ledger, only=only, workers=workers(jobs))).replace(url, str(shards))
            == found
        )
        return json.loads(found)["failures"]

    assert same() == same(only="1-2") == []
    for place in (LocalPlace(shards), open_place(url)):
        place.put("manifest-00001.jsonl", place.get("manifest-00001.jsonl").replace(b"1", b"2", 1))
    assert {failure["where"] for failure in same(jobs=2)} >= {"manifest-00001.jsonl"}
    assert same(only="0-1") == []
    for place in (LocalPlace(shards), open_place(url)):
        place.delete("manifest-00001.jsonl")
    assert {"where": "manifest-00001.jsonl", "key": "", "problem": "is missing"} in same()


def test_a_signature_is_checked_there(finished, store, prefix, tmp_path):
    pair = semshard.keygen(tmp_path / "owner.key", "a passphrase")
    semshard.sign(finished / "shards", pair.private, "a passphrase")
    url = copy(finished / "shards", f"s3://bucket/{prefix}/shards")
    result = semshard.audit(url, key=pair.public)
    assert (result.ok, result.signature) == (True, "valid")
    place = open_place(url)
    place.put("00000_stats.json", place.get("00000_stats.json") + b" ")
    assert "manifest.dsse.json" in {failure.where for failure in semshard.audit(url, key=pair.public).failures}


def flip(place):
    data = bytearray(place.get("00001.tar"))
    data[len(data) // 2] ^= 1
    place.put("00001.tar", bytes(data))


DAMAGE = {
    "a flipped bit": flip,
    "no tar": lambda place: place.delete("00001.tar"),
    "no parquet": lambda place: place.delete("00002.parquet"),
    "no stats": lambda place: place.delete("00000_stats.json"),
    "no card": lambda place: place.delete("README.md"),
    "half a tar": lambda place: place.put("00000.tar", place.get("00000.tar")[:2000]),
    "an empty parquet": lambda place: place.put("00000.parquet", b""),
    "more than belongs there": lambda place: [place.put("notes.txt", b"x"), place.put("more/x", b"y")],
    "another manifest": lambda place: place.put("manifest.json", place.get("manifest.json") + b"\n"),
}


QUICK = ("a flipped bit", "half a tar", "more than belongs there")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(DAMAGE)]


@pytest.mark.parametrize("damage", NAMES)
def test_an_audit_names_the_damage_that_it_names_in_the_folder(finished, remote, damage):
    DAMAGE[damage](LocalPlace(finished / "shards"))
    DAMAGE[damage](open_place(remote))
    here = semshard.audit(finished / "shards")
    assert not here.ok
    there = semshard.audit(remote, ledger=finished / "shards.ledger")
    assert report(there).replace(remote, str(finished / "shards")) == report(here)


@pytest.mark.slow
@given(chosen=st.lists(st.sampled_from(FAULTS), max_size=3), method=st.sampled_from(["GET", "HEAD", ""]))
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_audit_is_the_same_when_requests_fail(finished, remote, store, monkeypatch, chosen, method):
    monkeypatch.setattr("semshard.storage.objects.Limits", lambda: place_in(store, remote)._limits)
    remarks = []
    store.faults[:] = [Fault(each.kind, method, each.status, each.code) for each in chosen]
    result = semshard.audit(remote, progress=lambda event: remarks.append(event.message))
    store.faults.clear()
    assert result.ok
    assert result.checked == 40
    assert sum("follows" in remark for remark in remarks) <= len(chosen)


def test_an_audit_stops_where_the_store_is_gone(remote, store, monkeypatch):
    monkeypatch.setattr("semshard.storage.objects.Limits", lambda: place_in(store, remote)._limits)

    def gone(event):
        if event.phase == "audit":
            store.faults.append(Fault("refuse", times=99))

    with pytest.raises(semshard.StorageError, match=r"s3://.*: the store answered 503.*, 4 times"):
        semshard.audit(remote, progress=gone)


def test_a_folder_that_is_not_there_and_a_ledger_that_is_none(remote, store, tmp_path):
    with pytest.raises(semshard.ShardError, match=r"^s3://bucket/nothing holds no manifest.json: "):
        semshard.audit("s3://bucket/nothing")
    with pytest.raises(semshard.StorageError, match=r"^s3://no-such-bucket/x.*: there is no such bucket$"):
        list(open_place("s3://no-such-bucket/x").list())
    for ledger in (tmp_path, "s3://bucket/nothing"):
        with pytest.raises(semshard.LedgerError, match=r"holds no ledger: run\.json is missing"):
            semshard.open_shards(remote, ledger=ledger)


def test_fetched_files_take_a_bounded_room_and_are_deleted(remote, finished):
    tars = [path.stat().st_size for path in sorted((finished / "shards").glob("*.tar"))]
    shards = semshard.open_shards(remote)
    shards.files._room = max(tars) + 10_000  # the manifest is there, too
    home, held = shards.directory.parent, []
    assert home.stat().st_mode & 0o777 == 0o700
    for _ in shards:
        held.append(sum(path.stat().st_size for path in home.rglob("*") if path.is_file()))
    assert max(tars) < max(held) <= shards.files._room
    del shards
    gc.collect()
    assert not home.exists()


def test_files_in_use_stay(remote):
    folder = FetchedFolder(open_place(remote), room=1)
    with folder.at_hand("00000.tar"), folder.at_hand("00001.tar", "none"):
        assert sorted(path.name for path in folder.directory.iterdir()) == ["00000.tar", "00001.tar"]
    with folder.at_hand("00002.tar"):
        assert [path.name for path in folder.directory.iterdir()] == ["00002.tar"]


def test_the_networks_of_a_ledger_are_not_fetched(finished, prefix, store, remote):
    ledger = copy(finished / "shards.ledger", f"s3://bucket/{prefix}/private")
    opened = semshard.open_shards(remote, ledger=ledger)
    assert (finished / "shards.ledger" / "surrogate.safetensors").exists()
    assert not (opened.ledger / "surrogate.safetensors").exists()
    assert opened.ledger.stat().st_mode & 0o077 == 0
    sent = pickle.loads(pickle.dumps(opened))
    assert sent.ledger != opened.ledger
    files = {each: each.read_bytes() for each in opened.ledger.rglob("*") if each.is_file()}
    there = {path.relative_to(opened.ledger): data for path, data in files.items()}
    assert there == {path: (sent.ledger / path).read_bytes() for path in there}
    assert len(there) == sum(path.is_file() for path in sent.ledger.rglob("*"))


@pytest.mark.slow
def test_a_preview_is_the_same_picture(finished, remote, tmp_path):
    semshard.preview(finished / "shards", tmp_path / "here.png")
    semshard.preview(remote, tmp_path / "there.png", ledger=finished / "shards.ledger")
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()


def test_verify_reads_the_same_images(finished, remote):
    datasets = []
    for opened in (
        semshard.open_shards(finished / "shards"),
        semshard.open_shards(remote, ledger=finished / "shards.ledger"),
    ):
        config = verify_config("quick", opened.size, "float32", {})
        originals = find_originals(opened, None)
        datasets.append(load_dataset(opened, originals, config, lambda event: None))
    here, there = datasets
    for name in ("keys", "labels", "clean", "protected", "train", "test"):
        assert np.array_equal(getattr(here, name), getattr(there, name))


@pytest.mark.slow
def test_the_commands_read_an_object_store(finished, remote, tmp_path):
    ledger = finished / "shards.ledger"
    found = json.loads(command("audit", remote, "--ledger", ledger, "--json").stdout)
    assert (found["ok"], found["compared"]) == (True, 40)
    assert json.loads(command("status", remote, "--json").stdout)["phase"] == "done"
    missing = command("verify", remote, "--report", tmp_path / "report", expect=1).stderr.splitlines()[-1]
    assert missing.startswith(
        "semshard: error: the clean originals are missing: no --ledger was given; give --clean SOURCE"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "{shards}", "--to", "imagefolder", "--out", "gs://bucket/out"),
        ("repair", "az://container/out"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_would_write_to_an_object_store_is_refused_in_one_sentence(arguments, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    given_ = [each.format(images=finished / "images", shards=finished / "shards") for each in arguments]
    url = next(each for each in arguments if "://" in each)
    option = "SHARDS" if arguments[1] == url else "--out"
    said = command(*given_, expect=2).stderr
    assert said == f"semshard: error: {option} {url} {ONLY_HERE}\n"
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("shards", lambda url, shards: semshard.repair(url)),
        ("shards", lambda url, shards: semshard.remove(url, keys=["a"])),
        ("shards", lambda url, shards: semshard.sign(url, "no key", "")),
        ("shards", lambda url, shards: semshard.card(url)),
        ("report", lambda url, shards: semshard.verify(shards, report=url)),
        ("report", lambda url, shards: semshard.audit(shards, report=url)),
        ("out", lambda url, shards: semshard.export(shards, url, to="folder")),
        ("out", lambda url, shards: semshard.preview(shards, url)),
        ("out", lambda url, shards: semshard.robustness([shards], out=url)),
        ("out", lambda url, shards: semshard.train("shapes:40", url)),
        ("out", lambda url, shards: semshard.sweep("shapes:40", setting="steps", values=[1], out=url)),
        ("out", lambda url, shards: semshard.reproduce("table2", "shapes:40", out=url)),
        ("state", lambda url, shards: semshard.reproduce("table2", "shapes:40", out="here", state=url)),
    ],
)
def test_a_call_that_would_write_to_an_object_store_is_refused(what, call, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(semshard.OutputError, match=rf"^{what} s3://bucket/out {ONLY_HERE}$"):
        call("s3://bucket/out", finished / "shards")
    assert set(tmp_path.rglob("*")) == before
