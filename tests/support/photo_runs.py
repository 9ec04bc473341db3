"""Collections of photographs to protect, and what their output holds, in the forms that tests compare."""

import hashlib
import io
import json
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import semshard
from semshard.atomic import json_bytes
from semshard.publishing import write_description
from tests.support.corpus import picture
from tests.support.runs import TINY

FAST = TINY | {"crop": 32, "shard_size": 5, "craft_batch": 4}
VERIFY = {"preset": "quick", "steps": 4, "batch": 8, "evaluations": 1, "crop": 32, "holdout": 0.3, "rho_a": "0"}


def protect(source, out, options=None, **settings):
    return semshard.protect(source, out, options=options, **(FAST | settings))


def refused(home, error, words, source=None, options=None, **settings):
    """Nothing is trained, and the output stays free for another command."""

    def no_work(event):
        assert event.phase in ("start", "scan", "groups"), f"{event.phase} has begun"

    with pytest.raises(error, match=words):
        protect(source or home / "images", home / "out", options, progress=no_work, **settings)
    assert not list(home.glob("out.ledger/run.json")), "the output is taken by a run that cannot be"
    assert not list(home.glob("out/*"))


# --- what goes in --------------------------------------------------------------------------------------------------


def photo(number):
    """A picture of its own size, with one side above 64 pixels."""
    return picture(66 + 3 * (number % 17), 96 - 2 * (number % 13), number)


def write_photos(folder, classes="ab", each=4):
    """Photographs of different sizes in class folders; their pixels by relative name."""
    written = {}
    for number in range(len(classes) * each):
        name = f"{classes[number % len(classes)]}/{number:02d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        written[name] = photo(number)
        Image.fromarray(written[name]).save(folder / name)
    return written


def write_greys(folder, side=None):
    """Every second class-mate is greyscale; names tell."""
    for number in range(8):
        name = f"{'ab'[number // 4]}/{('colour', 'grey')[number % 2]}{number}.png"
        image = Image.fromarray(photo(number))
        image = image.resize((side, side)) if side else image
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (image.convert("L") if number % 2 else image).save(folder / name)


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def foreign(folder, samples, name="a.tar"):
    """A tar of somebody else: [{extension: bytes}]."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / name, "w") as tar:
        for number, parts in enumerate(samples):
            for extension, data in parts.items():
                add(tar, f"{number:04d}.{extension}", data)
    return folder / name


# --- what comes out ------------------------------------------------------------------------------------------------


def samples(out):
    """[(key, {extension: bytes})] of each tar, by tar, as tarfile reads them."""
    contents = {}
    for path in sorted(out.glob("*.tar")):
        contents[path.name] = []
        with tarfile.open(path) as tar:
            for entry in tar:
                key, _, extension = entry.name.partition(".")
                if not contents[path.name] or contents[path.name][-1][0] != key:
                    contents[path.name].append((key, {}))
                contents[path.name][-1][1][extension] = tar.extractfile(entry).read()
    return contents


def flat(out):
    """key → {extension: bytes} over all tars."""
    every = [sample for of_tar in samples(out).values() for sample in of_tar]
    assert len(dict(every)) == len(every), "a key occurs twice"
    return dict(every)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def ledger(out):
    """Rows of the list of inputs, and of all shards."""
    place = out.parent / f"{out.name}.ledger"
    rows = [row for path in sorted(place.glob("[0-9]*.parquet")) for row in pq.read_table(path).to_pylist()]
    return pq.read_table(place / "index").to_pylist(), rows


def sources_of(out):
    """key → name of the input."""
    return {row["key"]: row["source"] for row in ledger(out)[1] if row["key"]}


def manifest(out):
    return json.loads((out / "manifest.json").read_text())


def problems(out, **options):
    return "\n".join(f"{f.where} {f.key}: {f.problem}" for f in semshard.audit(out, **options).failures)


def passes(out, compared):
    result = semshard.audit(out)
    assert result.failures == []
    assert (result.checked, result.compared) == (compared, compared)


# --- what a cheat makes of it --------------------------------------------------------------------------------------


def copied(out, home):
    """A finished output and its ledger, to be spoiled."""
    shutil.copytree(out, home / "out")
    shutil.copytree(f"{out}.ledger", home / "out.ledger")
    return home / "out"


def changed(change, extension="jpg"):
    """Pass the first entry with that extension through `change`."""
    seen = []

    def one(entry, data):
        if entry.name.endswith(f".{extension}") and not seen:
            seen.append(entry.name)
            data = change(data)
        return entry, data

    return one


def settle(out):
    """Make tar, stats, manifest and card agree again."""
    about = manifest(out)
    for entry in about["shards"]:
        tar = out / entry["name"]
        parquet = tar.with_suffix(".parquet")
        for prefix, path in (("", tar), ("parquet_", parquet)):
            data = path.read_bytes()
            entry |= {f"{prefix}bytes": len(data), f"{prefix}sha256": hashlib.sha256(data).hexdigest()}
        stats = tar.with_name(f"{tar.stem}_stats.json")
        stated = {name: value for name, value in entry.items() if name != "name"}
        stats.write_bytes(json_bytes(json.loads(stats.read_text()) | stated))
    (out / "manifest.json").write_bytes(json_bytes(about))
    write_description(out, {})
