"""Exports hold the bytes of the shards, name classes as the shards do, and appear when they are whole."""

import hashlib
import io
import itertools
import json
import re
import signal
import struct
import subprocess
import sys
import tarfile
import unicodedata
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from semshard_cli.main import app
from torchvision.datasets import ImageFolder
from typer.testing import CliRunner

import semshard
from semshard.publishing import export_mds, export_parquet
from semshard.publishing.export import FORMATS
from semshard.publishing.export_folder import folder_names


@pytest.fixture(scope="module")
def shards(_finished):
    """The finished run of the session; nothing is written into it here."""
    return _finished / "shards"


def stored(shards):
    """Key → (label, bytes of the image file), read by the standard library."""
    files = {}
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            files |= {entry.name: tar.extractfile(entry).read() for entry in tar}
    return {name[:-4]: (int(files[f"{name[:-4]}.cls"]), data) for name, data in files.items() if name.endswith(".png")}


def tree(folder):
    """The bytes of every file below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read_mds(folder):
    """Every sample of an MDS folder by the published format: uint32 count and offsets, JSON, then the samples."""
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 2
    for about in index["shards"]:
        raw = about.pop("raw_data")
        data = (folder / raw["basename"]).read_bytes()
        assert (raw["bytes"], raw["hashes"]) == (len(data), {"sha256": hashlib.sha256(data).hexdigest()})
        assert about.pop("zip_data") is None
        (count,) = struct.unpack_from("<I", data)
        assert count == about.pop("samples")
        offsets = struct.unpack_from(f"<{count + 1}I", data, 4)
        assert json.loads(data[8 + 4 * count : offsets[0]]) == about
        assert offsets[-1] == len(data) <= about["size_limit"] or count == 1
        for begin, end in itertools.pairwise(offsets):
            yield dict(zip(about["column_names"], columns(data[begin:end], about["column_sizes"]), strict=True))


def columns(sample, fixed):
    """The columns of a sample; sizes that are not fixed come first."""
    at = 4 * fixed.count(None)
    varying = iter(struct.unpack_from(f"<{fixed.count(None)}I", sample))
    for size in fixed:
        size = next(varying) if size is None else size
        yield sample[at : at + size]
        at += size
    assert at == len(sample)


def from_mds(folder):
    return {
        row["key"].decode(): (int.from_bytes(row["label"], "little", signed=True), row["image"])
        for row in read_mds(folder)
    }


def from_folder(folder):
    about = {row["folder"]: row for row in json.loads((folder / "classes.json").read_text())}
    return {path.stem: (about[path.parent.name]["label"], path.read_bytes()) for path in folder.glob("*/*.png")}


def from_parquet(folder):
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert all(row["image"]["path"] == f"{row['key']}.png" for row in rows)
    return {row["key"]: (row["label"], row["image"]["bytes"]) for row in rows}


def from_dali_index(folder, shards):
    """What DALI would read: the bytes at the places of the index, which must be files of the tar."""
    found = {}
    for path in sorted(folder.glob("*.idx")):
        tar = (shards / f"{path.stem}.tar").read_bytes()
        head, *lines = path.read_text().splitlines()
        assert head == f"v1.2 {len(lines)}"
        for line in lines:
            words = line.split(" ")
            parts = {}
            for extension, offset, size, name in zip(*(words[place::4] for place in range(4)), strict=True):
                assert int(offset) % 512 == 0
                assert tar[int(offset) - 512 :].startswith(name.encode() + b"\0")
                parts[extension] = name, tar[int(offset) : int(offset) + int(size)]
            assert {name.partition(".")[0] for name, _ in parts.values()} == {parts["png"][0][:-4]}
            found[parts["png"][0][:-4]] = int(parts["cls"][1]), parts["png"][1]
    return found


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_holds_the_encoded_images_and_their_classes(shards, tmp_path, to):
    result = semshard.export(shards, tmp_path / "out", to=to)
    readers = {"folder": from_folder, "parquet": from_parquet, "mds": from_mds}
    readers["dali-index"] = lambda folder: from_dali_index(folder, shards)
    assert readers[to](tmp_path / "out") == stored(shards)
    assert (result.samples, result.shards, result.to) == (40, 3, to)
    about = {"classes.json", "index.json"}
    files = {name: data for name, data in tree(tmp_path / "out").items() if name not in about}
    assert (result.files, result.bytes) == (len(files), sum(map(len, files.values())))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


class Interrupting:
    """A progress callback that stops the export, as Ctrl-C would, at the first event with more than `done` images."""

    def __init__(self, done):
        self._done = done

    def __call__(self, event):
        if event.done > self._done:
            raise KeyboardInterrupt


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("done", [0, 16, 32])
def test_an_interrupted_export_continues_and_ends_in_the_same_bytes(shards, tmp_path, to, done):
    semshard.export(shards, tmp_path / "whole", to=to)
    with pytest.raises(KeyboardInterrupt):
        semshard.export(shards, tmp_path / "out", to=to, progress=Interrupting(done))
    assert not (tmp_path / "out").exists()
    with open(tmp_path / ".out.semshard-export" / "journal.jsonl", "ab") as journal:
        journal.write(b'{"samples": 16, "fi')  # a kill may leave a part of a line
    events = []
    semshard.export(shards, tmp_path / "out", to=to, progress=events.append)
    assert events[0].done in (done, min(40, done + 16))  # whole shards are not written again
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}


KILLED = """
import os, signal, sys, semshard
def kill(event):
    if event.done == 1:
        os.kill(os.getpid(), signal.SIGKILL)
semshard.export(sys.argv[1], sys.argv[2], to="mds", progress=kill)
"""


def test_a_killed_export_leaves_nothing_behind_in_the_next_one(shards, tmp_path):
    semshard.export(shards, tmp_path / "whole", to="mds")
    done = subprocess.run([sys.executable, "-c", KILLED, shards, tmp_path / "out"], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [path.name.split(".")[1:3] for path in tmp_path.rglob("*.semshard-tmp")] == [["00000-00", "mds"]]
    assert not (tmp_path / "out").exists()
    semshard.export(shards, tmp_path / "out", to="mds")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "whole"}


def test_work_on_another_export_is_not_continued(shards, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        semshard.export(shards, tmp_path / "out", to="mds", progress=Interrupting(16))
    semshard.export(shards, tmp_path / "out", to="parquet")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".parquet"}


def test_torchvision_numbers_the_classes_as_the_shards_do(shards, tmp_path):
    semshard.export(shards, tmp_path / "out", to="folder")
    dataset = ImageFolder(tmp_path / "out", allow_empty=True)
    opened = semshard.open_shards(shards)
    expected = {sample.key: (sample.label, sample.image) for sample in opened}
    assert dataset.classes == list(opened.classes)
    for path, label in dataset.samples:
        of_shards, pixels = expected.pop(Path(path).stem)
        assert label == of_shards
        assert np.array_equal(np.asarray(dataset.loader(path)), pixels)
    assert not expected


def test_hugging_face_gives_pictures_and_named_classes(shards, tmp_path):
    semshard.export(shards, tmp_path / "out", to="parquet")
    dataset = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    opened = semshard.open_shards(shards)
    assert dataset.features == datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=list(opened.classes)), key=datasets.Value("string")
    )
    for row, sample in zip(dataset, opened, strict=True):
        assert (row["key"], row["label"]) == (sample.key, sample.label)
        assert np.array_equal(np.asarray(row["image"]), sample.image)


def test_large_shards_become_several_mds_files_and_row_groups(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(export_mds, "_LIMIT", 8000)
    monkeypatch.setattr(export_parquet, "_ROWS", 5)
    semshard.export(shards, tmp_path / "mds", to="mds")
    assert len(list((tmp_path / "mds").glob("*.mds"))) > 3
    assert from_mds(tmp_path / "mds") == stored(shards)
    semshard.export(shards, tmp_path / "parquet", to="parquet")
    groups = [pq.ParquetFile(path).metadata.num_row_groups for path in sorted((tmp_path / "parquet").iterdir())]
    assert groups == [4, 4, 2]
    assert from_parquet(tmp_path / "parquet") == stored(shards)


@pytest.mark.parametrize("to", FORMATS)
def test_a_damaged_shard_is_named_and_nothing_appears(finished, tmp_path, to):
    path = finished / "shards" / "00001.tar"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(semshard.ShardError, match=r"00001\.tar is damaged"):
        semshard.export(finished / "shards", tmp_path / "out", to=to)
    path.unlink()
    with pytest.raises(semshard.ShardError, match=r"00001\.tar is missing"):
        semshard.export(finished / "shards", tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "a b", ".x"])
def test_names_in_a_hostile_tar_do_not_become_paths(finished, tmp_path, name):
    folder = finished / "shards"
    manifest = json.loads((folder / "manifest.json").read_text())
    with tarfile.open(folder / "00000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(16):
            for extension in ("cls", "json", "png"):
                entry = tarfile.TarInfo(f"{name if number == 9 else number}.{extension}")
                entry.size = 1
                tar.addfile(entry, io.BytesIO(b"0"))
    manifest["shards"][0]["sha256"] = hashlib.sha256((folder / "00000.tar").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(semshard.ShardError, match=r"00000\.tar"):
        semshard.export(folder, tmp_path / "out", to="folder")
    assert not any(
        path.is_file() for path in tmp_path.rglob("*") if path.suffix == ".png" and finished not in path.parents
    )


def test_what_is_there_is_never_touched(shards, tmp_path):
    (tmp_path / "out").mkdir()
    semshard.export(shards, tmp_path / "out", to="dali-index")  # an empty folder may be there
    before = tree(tmp_path)
    with pytest.raises(semshard.OutputError, match="not an empty folder"):
        semshard.export(shards, tmp_path / "out", to="mds")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(semshard.OutputError, match="not an empty folder"):
        semshard.export(shards, tmp_path / "file", to="mds")
    for inside in (shards, shards / "x", shards / ".." / shards.name / "y"):
        with pytest.raises(semshard.OutputError, match="lies in the folder of the shards"):
            semshard.export(shards, inside, to="mds")
    with pytest.raises(semshard.SettingError, match="folder, parquet, mds, dali-index"):
        semshard.export(shards, tmp_path / "new", to="zip")
    assert tree(tmp_path) == {**before, "file": b"mine"}


def test_fields_that_are_left_out_are_named(finished, tmp_path):
    path = finished / "shards" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["fields"]["carried"] = ["txt"]
    path.write_text(json.dumps(manifest))
    events = []
    semshard.export(finished / "shards", tmp_path / "out", to="mds", progress=events.append)
    assert [event.message for event in events if event.message] == [
        "Only image, class and key are exported; txt stay in the shards."
    ]
    counts = [(event.done, event.total, event.unit) for event in events if event.total]
    assert counts == sorted(counts)
    assert counts[0] == (0, 40, "images")
    assert counts[-1] == (40, 40, "images")


NAMES = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["a", "A", "b", "10", "2", "con", "../x", "a/b", ".hidden", "dog.", "é", "e\u0301", "n" * 300, "cat", "dog"]
)


@settings(max_examples=50)
@given(st.lists(NAMES, min_size=1, max_size=15, unique=True))
def test_folders_are_safe_different_and_sorted_like_the_labels(classes):
    folders = folder_names(classes)
    assert len({folder.casefold() for folder in folders}) == len(classes)
    assert folders == sorted(folders)
    for folder in folders:
        assert not set(folder) & set('/\\<>:"|?*\0')
        assert all(unicodedata.category(letter)[0] != "C" for letter in folder)
        assert 0 < len(folder.encode()) <= 120
        assert folder[0] not in ".-"
        assert folder[-1] not in ". "


def test_hugging_face_reads_a_folder_of_any_classes_as_one_split(tmp_path):
    classes = ["__background__", "bus", "test", "train"]
    for label, name in enumerate(folder_names(classes)):
        (tmp_path / "out" / name).mkdir(parents=True)
        Image.new("RGB", (2, 2), (label, 0, 0)).save(tmp_path / "out" / name / "x.png")
    dataset = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), data_files={"train": "**"}, cache_dir=str(tmp_path / "cache")
    )["train"]
    assert [(row["image"].getpixel((0, 0))[0], row["label"]) for row in dataset] == [(n, n) for n in range(4)]


def test_two_exports_to_the_same_place_do_not_mix(shards, tmp_path):
    def other(event):
        if event.done == 16:
            with pytest.raises(semshard.OutputError, match="another process is writing"):
                semshard.export(shards, tmp_path / "out", to="mds")
            tried.append(event.done)

    tried = []
    semshard.export(shards, tmp_path / "out", to="mds", progress=other)
    assert tried
    semshard.export(shards, tmp_path / "whole", to="mds")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_no_export_to_where_the_command_stands(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(semshard.OutputError, match="choose another name"):
        semshard.export(shards, ".", to="folder")


def test_usual_class_names_stay_and_others_get_their_label():
    assert folder_names(["airplane", "automobile", "bird"]) == ["airplane", "automobile", "bird"]
    assert folder_names(["n01440764", "n01443537"]) == ["n01440764", "n01443537"]
    assert folder_names([str(label) for label in range(11)])[1:3] == ["01_1", "02_2"]  # "10" sorts before "2"
    assert folder_names(["cat", "a/b"]) == ["0_cat", "1_a_b"]
    assert folder_names(["__background__", "cat"]) == ["0___background__", "1_cat"]
    assert folder_names(["Zebra", "ant"]) == ["0_Zebra", "1_ant"]  # without case it is ant, Zebra


def test_the_command_exports(shards, tmp_path):
    done = CliRunner().invoke(app, ["export", str(shards), "--to", "mds", "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert (said["samples"], said["shards"], said["out"]) == (40, 3, str(tmp_path / "out"))
    again = CliRunner().invoke(app, ["export", str(shards), "--to", "mds", "--out", str(tmp_path / "out")])
    assert again.exit_code == 2
    assert re.search("is not an empty folder", again.stderr)
