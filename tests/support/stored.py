"""Runs into an object store."""

import hashlib
import json

import semshard
from semshard.shards import shard_in
from semshard.storage import open_place
from tests.support.runs import TINY

_OWN = {"run.json", "index.json", "parts.json", "lock"}  # with the path of the source, or of parts or of folders alone


def objects(where):
    """The bytes of all objects below a URL, or of all files of a folder, by name."""
    place = open_place(where)
    return {entry.name: place.get(entry.name) for entry in place.list()}


def private(where):
    """The same of a ledger, but for what differs between equal runs."""
    return {name: data for name, data in objects(where).items() if name not in _OWN}


def protect(home, out, **options):
    """Protect home/images, with the settings TINY and those that are given."""
    return semshard.protect(home / "images", out, **(TINY | options))


def begin(url, home):
    """Put into a store what `--until surrogate` leaves there, of the finished run in a folder."""
    ledger = home / "shards.ledger"
    place, later = open_place(f"{url}.ledger"), {"published.json", "lock", "parts.json"}
    for name, data in objects(ledger).items():
        if name not in later and shard_in(name) is None:
            place.put(name, data)


def check_whole(url):
    """Whatever can be seen is whole: marks vouch for their files, the index for its own, the manifest for all."""
    shown, ledger = objects(url), objects(f"{url}.ledger")
    marks = [name for name in shown if name.endswith("_stats.json")]
    for mark in marks:
        stats, stem = json.loads(shown[mark]), mark.removesuffix("_stats.json")
        assert digest(shown[f"{stem}.tar"]) == stats["sha256"]
        assert digest(shown[f"{stem}.parquet"]) == stats["parquet_sha256"]
        assert f"{stem}.parquet" in ledger
    if "index.json" in ledger:
        assert "run.json" in ledger
        contents = json.loads(ledger["index.json"])
        for folder, files in (("index", contents["files"]), ("plan", contents["plan"])):
            assert all(digest(ledger[f"{folder}/{file['name']}"]) == file["sha256"] for file in files)
    if marks:
        assert "index.json" in ledger
    if "manifest.json" in shown:
        assert len(json.loads(shown["manifest.json"])["shards"]) == len(marks)
    return len(marks)


def digest(data):
    return hashlib.sha256(data).hexdigest()
