"""The public folder holds nothing from the ledger: what is planted in source and ledger is looked for, byte by byte."""

import base64
import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load_file

import semshard
from semshard.shards import Ledger
from semshard.sources.shapes import write_shapes
from tests.support.runs import TINY
from tests.support.signing import PASSPHRASE

SEED = 8_675_309_424_242  # no other number of a run looks like it
NAME = "zebrafinch-portrait-of-my-cousin"
PLACE = "hidden-folder-of-the-owner"
AUTHOR = "Somebody Unmentionable"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A signed run on pictures with telling names and EXIF, in a folder with a telling name."""
    home = tmp_path_factory.mktemp("private") / PLACE
    write_shapes(home / "drawn", 40)
    for number, path in enumerate(sorted((home / "drawn").glob("*/*.png"))):
        exif = Image.Exif()
        exif[0x013B] = AUTHOR
        target = home / "images" / path.parent.name / f"{NAME}-{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            picture.save(target, exif=exif)
    key = semshard.keygen(home / "owner.key", PASSPHRASE)
    settings = TINY | {"seed": SEED, "sign_key": key.private, "passphrase": PASSPHRASE}
    semshard.protect(home / "images", home / "shards", **settings)
    return home


def planted(run):
    """What only the ledger, or the source, may hold: by name, the bytes in every form that a file may have them in."""
    ledger = Ledger(run / "shards.ledger")
    yield "the seed", str(SEED).encode()
    yield "the seed, 8 bytes", SEED.to_bytes(8, "little")
    yield "the seed, hex", f"{SEED:x}".encode()
    yield "a source name", NAME.encode()
    yield "the source's folder", PLACE.encode()
    yield "the author", AUTHOR.encode()
    yield "the passphrase", PASSPHRASE.encode()
    yield "the fingerprint", ledger.run()["fingerprint"].encode()
    yield "the digest of the source's names", ledger.run()["source_digest"].encode()
    yield from ((f"the SHA-256 of input {row.number}", row.sha256) for row in ledger.inputs())
    yield from ((f"the SHA-256 of input {row.number}, hex", row.sha256.hex().encode()) for row in ledger.inputs())
    for path in (run / "images").glob("*/*.png"):
        with Image.open(path) as picture:
            yield f"pixels of {path.name}", np.asarray(picture)[12:20].tobytes()
    for name, values in load_file(ledger.surrogate).items():
        if values.size >= 8:
            yield f"values of {name}", values.tobytes()[:32]
            yield f"values of {name}, half", values.astype(np.float16).tobytes()[:16]


def public_forms(folder):
    """Every byte string that somebody who opens the folder can see: files, entries of tars, columns of parquet files,
    pixels, and what is written in base64.
    """
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        yield path.name, data
        if path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for entry in tar:
                    inside = tar.extractfile(entry).read()
                    yield f"{path.name}/{entry.name}", repr(entry.get_info()).encode() + inside
                    if entry.name.endswith(".png"):
                        picture = Image.open(io.BytesIO(inside))
                        yield f"{entry.name}, pixels", np.asarray(picture).tobytes()
                        yield f"{entry.name}, texts", repr(picture.info).encode()
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            metadata = table.schema.metadata, pq.read_metadata(path).metadata
            yield f"{path.name}, rows", repr((table.to_pydict(), metadata)).encode()
        if path.name.endswith(".dsse.json"):
            payload = json.loads(data)["payload"]
            yield f"{path.name}, payload", base64.b64decode(payload)


def found(run, folder):
    forms = list(public_forms(folder))
    return [(what, where) for what, secret in planted(run) for where, data in forms if secret in data]


def test_nothing_of_the_ledger_and_no_original_is_in_the_public_folder(run):
    assert (run / "shards" / "manifest.dsse.json").exists()
    assert len(list(planted(run))) > 150
    assert found(run, run / "shards") == []


def test_what_is_planted_is_found_in_every_place(run, tmp_path):
    """The search itself: each secret is put where a fault would put it."""
    ledger = Ledger(run / "shards.ledger")
    digest, weights = next(ledger.inputs()).sha256, ledger.surrogate.read_bytes()
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        entry = tarfile.TarInfo("0000000000.png")
        picture = io.BytesIO()
        original = next((run / "images").glob("*/*.png"))
        with Image.open(original) as opened:
            opened.save(picture, "PNG", exif=opened.getexif())
        entry.size, entry.uname = picture.tell(), NAME[:20]
        tar.addfile(entry, io.BytesIO(picture.getvalue()))
    pq.write_table(pa.table({"sha256": [digest.hex()], "key": [f"{SEED}"]}), tmp_path / "00000.parquet")
    (tmp_path / "manifest.json").write_bytes(weights)
    envelope = {"payload": base64.b64encode(f"in {PLACE}, by {NAME}".encode()).decode()}
    (tmp_path / "manifest.dsse.json").write_text(json.dumps(envelope))
    what = {name.split(" of input")[0].split(" of ")[0] for name, _ in found(run, tmp_path)}
    assert {"the seed", "a source name", "the source's folder", "the author", "values"} <= what
    assert {"the SHA-256", "pixels"} <= what
