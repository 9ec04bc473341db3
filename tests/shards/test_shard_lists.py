"""Many shards are listed in files beside the manifest: the same is read from them, and no change of them passes."""

import json
import pickle
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import semshard
from semshard.settings import protect_config
from semshard.shards import (
    Fields,
    ManifestContent,
    Shards,
    ShardStats,
    broken_lists,
    list_in,
    manifest_bytes,
    manifest_of,
    open_shards,
    read_manifest,
    shard_lists,
    write_manifest,
)
from semshard.storage import LocalFolder

SCHEMA = json.loads(resources.files("semshard.shards").joinpath("manifest.schema.json").read_text())
RECORD = Draft202012Validator({"$ref": "#/$defs/shard", "$defs": SCHEMA["$defs"]})


def stats(shard):
    """Of a shard that does not exist, all of them different."""
    sha256 = f"{shard:064x}"
    return ShardStats(shard, shard % 5, shard % 3, 10 * shard + 7, sha256, shard + 11, sha256[::-1], 8, 30 + shard / 16)


def content(shards):
    config = protect_config("quick", (32, 32), "float32", {"method": "sc"})
    machine = {"device": "cpu", "torch": "2"}
    every = list(map(stats, range(shards)))
    return ManifestContent(config, ("a", "b"), (32, 32), Fields(), every, 10**6, 0, machine)


@pytest.fixture
def few(monkeypatch):
    """More than three shards are many, and four are in a file."""
    monkeypatch.setattr(shard_lists, "MOST", 3)
    monkeypatch.setattr(shard_lists, "EACH", 4)


def test_three_shards_are_listed_as_ever_and_four_in_a_file(few, tmp_path):
    assert [row["name"] for row in write_manifest(tmp_path, content(3), "1")["shards"]][-1] == "00002.tar"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    write_manifest(tmp_path, content(4), "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest-00000.jsonl", "manifest.json"]


@pytest.mark.parametrize("count", [4, 5, 8, 11, 17])
def test_the_same_is_read_from_files_as_from_one_list(few, tmp_path, monkeypatch, count):
    write_manifest(tmp_path, content(count), "1")
    manifest, shards = read_manifest(tmp_path), open_shards(tmp_path)
    assert manifest_bytes(manifest) == (tmp_path / "manifest.json").read_bytes()
    assert manifest_bytes(manifest) == manifest_bytes(manifest_of(content(count), "1"))
    monkeypatch.setattr(shard_lists, "MOST", count)
    listed = manifest_of(content(count), "1")
    records = listed.pop("shards")
    assert list(manifest["shards"]) == records == manifest["shards"][:] == [manifest["shards"][n] for n in range(count)]
    assert manifest["shards"][-1] == records[-1]
    assert {**manifest, "shards": 0, "shard_lists": 0, "schema_version": 2} == {**listed, "shards": 0, "shard_lists": 0}
    (tmp_path / "whole").mkdir()
    whole = Shards(LocalFolder(tmp_path / "whole"), listed | {"shards": records}, LocalFolder(tmp_path / "none"))
    assert [shards.locate(n) for n in range(len(shards))] == [whole.locate(n) for n in range(len(whole))]
    assert [shards.tar(n).name for n in range(count)] == [path.name for path in whole.tars]
    assert pickle.loads(pickle.dumps(shards)).records[count - 1] == records[-1]
    assert all(shards.records.proves(n) for n in range(count))


@pytest.mark.slow
@given(data=st.data())
def test_no_change_of_a_file_passes(data, tmp_path_factory):
    home = tmp_path_factory.mktemp("lists")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_lists, "MOST", 3)
        patch.setattr(shard_lists, "EACH", 4)
        write_manifest(home, content(10), "1")
    manifest = read_manifest(home)
    assert broken_lists(home, manifest) == []
    number = data.draw(st.integers(0, 2))
    path = home / shard_lists.list_name(number)
    text, kind = path.read_bytes(), data.draw(st.sampled_from(["flip", "cut", "more", "swap", "gone"]))
    at = data.draw(st.integers(0, len(text) - 1))
    lines = text.splitlines(keepends=True)
    changed = {
        "flip": text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :],
        "cut": text[:at],
        "more": text + lines[0],
        "swap": b"".join([*lines[1:], lines[0]]),
        "gone": None,
    }[kind]
    path.unlink() if changed is None else path.write_bytes(changed)
    assert broken_lists(home, manifest) == [path.name]
    with pytest.raises(semshard.ShardError, match=path.name):
        read_manifest(home)["shards"][4 * number]
    other = (number + 1) % 3
    assert read_manifest(home)["shards"][4 * other] == manifest["shards"][4 * other], "the others can still be read"


def test_a_file_with_another_record_does_not_lead_to_the_root(few, tmp_path):
    """Somebody who also changes bytes and SHA-256 in manifest.json, and the root of the file, but not that of all."""
    write_manifest(tmp_path, content(10), "1")
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    records = open_shards(tmp_path).records.read(1)
    records[2] = records[2] | {"sha256": 64 * "0"}
    files = {}
    manifest["shard_lists"]["files"][1] = {
        **shard_lists.list_files(iter(records), files.__setitem__)["files"][0], "name": "manifest-00001.jsonl"
    }  # fmt: skip
    (tmp_path / "manifest-00001.jsonl").write_bytes(files["manifest-00000.jsonl"])
    (tmp_path / "manifest.json").write_bytes(manifest_bytes(manifest))
    records = open_shards(tmp_path).records
    assert records[6]["sha256"] == 64 * "0"
    assert [records.proves(shard) for shard in range(10)] == 10 * [False]


@given(st.data())
def test_a_record_is_checked_as_the_schema_says(data):
    record = {"name": "00007.tar", **vars(stats(7))}
    record = {name: record[name] for name in shard_lists._FIELDS}
    name = data.draw(st.sampled_from([*record, "more"]))
    values = st.one_of(
        st.none(), st.booleans(), st.integers(-2, 9), st.floats(allow_nan=False), st.text("0aZ", max_size=3),
        st.just(64 * "a"), st.just([]), st.just("drop"),
    )  # fmt: skip
    value = data.draw(values)
    record[name] = value
    if value == "drop":
        del record[name]
    if name == "name" or value in (0.0, 1.0) or (isinstance(value, float) and value.is_integer()):
        return  # names are compared with those that follow from the number; 1.0 is an integer for JSON Schema
    assert shard_lists._is_record(record) == RECORD.is_valid(record)


def test_only_our_names_are_files_of_records():
    assert [list_in(name) for name in ("manifest-00007.jsonl", "manifest-7.jsonl", "manifest.json")] == [7, None, None]


def test_counts_that_do_not_fit_are_refused(few, tmp_path):
    write_manifest(tmp_path, content(10), "1")
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    manifest["shard_lists"]["files"][0]["shards"] = 3
    (tmp_path / "manifest.json").write_bytes(manifest_bytes(manifest))
    with pytest.raises(semshard.ShardError, match="other counts"):
        open_shards(tmp_path)


def test_totals_are_those_of_the_shards(few):
    manifest = manifest_of(content(9), "1")
    samples = [stats(shard).samples for shard in range(9)]
    weighted = [stats(shard).psnr_mean * stats(shard).samples for shard in range(9)]
    assert manifest["counts"] == {
        "inputs": 10**6, "samples": sum(samples), "rejected": 10**6 - sum(samples), "duplicates": 0, "shards": 9
    }  # fmt: skip
    assert manifest["noise"] == {"linf_max": 8, "psnr_mean": round(sum(weighted) / sum(samples), 4)}
    assert manifest == manifest_of(replace(content(9), shards=tuple(map(stats, range(9)))), "1")
