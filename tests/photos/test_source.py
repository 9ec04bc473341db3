"""Collections as users have them: odd files, tables, folders, clouds; protected and audited."""

import csv
import json
import shutil

import pytest
from PIL import Image

import semshard
from tests.support.cifar import write_cifar
from tests.support.corpus import PROTECTED, saved, write_corpus
from tests.support.photo_runs import flat, foreign, ledger, manifest, passes, photo, protect, sources_of, write_photos


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(what must become of each file, the output, what protect returned)."""
    home = tmp_path_factory.mktemp("corpus")
    fates = write_corpus(home / "images")
    return fates, home / "out", protect(home / "images", home / "out", max_rejects=1.0)


def test_every_odd_file_meets_its_fate_and_is_reported(corpus):
    fates, out, result = corpus
    scanned, rows = ledger(out)
    assert {row["source"] for row in scanned} == fates.keys()
    place = out.parent / f"{out.name}.ledger" / "rejects.jsonl"
    rejects = {row["source"]: row["reason"] for row in map(json.loads, place.read_text().split("\n")[:-1])}
    assert rejects.keys() == {name for name, fate in fates.items() if fate != PROTECTED}
    assert {row["source"] for row in rows} == {name for name, fate in fates.items() if fate == PROTECTED}
    for name, reason in rejects.items():
        assert fates[name] in reason
    assert sum(result.seconds.values()) < 60


def test_the_counts_of_an_odd_collection_add_up_everywhere(corpus):
    fates, out, result = corpus
    usable = sum(fate == PROTECTED for fate in fates.values())
    assert (result.samples, result.rejected) == (usable, len(fates) - usable)
    counts = manifest(out)["counts"]
    assert counts["inputs"] == len(fates) == counts["samples"] + counts["rejected"]
    assert counts["samples"] == usable == len(flat(out))
    assert counts["duplicates"] == result.duplicates > 0
    passes(out, usable)


def test_keys_are_digits_whatever_the_files_are_called(corpus):
    _, out, _ = corpus
    keys = flat(out)
    assert all(len(key) == 10 and key.isdigit() for key in keys)
    named = sources_of(out)
    assert named.keys() == keys.keys()
    for odd in ("new\nline", "ünïcödé-写真-фото", "x" * 251, "dots.in.the.name", "no extension"):
        assert sum(odd in name for name in named.values()) == 1


def test_the_ledger_notes_what_was_done_to_odd_files(corpus):
    notes = {row["source"].partition("/")[2]: row["note"] for row in ledger(corpus[1])[0]}
    assert "first of 3 frames" in notes["animated.gif"]
    assert "first of 3 frames" in notes["pages.tiff"]
    assert "alpha composited on #ffffff" in notes["alpha.png"]
    assert "Display P3" in notes["wide gamut.png"]
    assert "16 bits" in notes["48 bits.png"]
    assert "CMYK" in notes["CMYK.tiff"]
    assert notes["plain.png"] == ""


def test_an_audit_without_the_ledger_finds_the_originals_of_an_odd_collection(corpus, tmp_path):
    shutil.copytree(corpus[1], tmp_path / "out")
    result = semshard.audit(tmp_path / "out", clean=corpus[1].parent / "images")
    assert result.failures == []
    assert result.compared == result.checked


def test_a_table_labels_a_flat_folder(tmp_path):
    (tmp_path / "images").mkdir()
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "what"])
        for number in range(8):
            Image.fromarray(photo(number)).save(tmp_path / "images" / f"{number}, again.png")
            table.writerow([f"{number}, again.png", ("cat", "dog")[number % 2]])
    Image.fromarray(photo(8)).save(tmp_path / "images" / "unknown.png")
    options = semshard.SourceOptions(str(tmp_path / "labels.csv"), path_column="file", label_column="what")
    out = tmp_path / "out"
    assert protect(tmp_path / "images", out, options, max_rejects=0.2).rejected == 1
    assert manifest(out)["classes"] == ["cat", "dog"]
    assert [row["reason"] for row in ledger(out)[0] if row["reason"]] == ["no label in labels.csv"]
    named = sources_of(out)
    for key, parts in flat(out).items():
        assert int(parts["cls"]) == int(named[key].split(",")[0]) % 2
    passes(out, 8)


def test_a_relative_source_is_found_again_from_another_folder(tmp_path, monkeypatch):
    write_photos(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    protect("images", "out")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    passes(tmp_path / "out", 8)


def test_relative_tars_are_found_again_from_another_folder(tmp_path, monkeypatch):
    foreign(tmp_path / "tars", [{"png": saved(photo(n), "PNG"), "cls": b"%d" % (n % 2)} for n in range(8)])
    monkeypatch.chdir(tmp_path)
    protect("wds:tars/a.tar", "out")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    passes(tmp_path / "out", 8)


def test_imagenet_folders_are_protected_with_their_class_names(tmp_path):
    for number in range(8):
        wnid = ("n01440764", "n01443537")[number % 2]
        path = tmp_path / "data" / "train" / wnid / f"{wnid}_{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(photo(number), ("JPEG", "PNG")[number % 4 == 3]))
    out = tmp_path / "out"
    protect(f"imagenet:{tmp_path / 'data'}", out)
    assert len(manifest(out)["classes"]) == 2
    passes(out, 8)


def test_a_remote_folder_is_protected_as_one_on_this_machine(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    written = write_photos(tmp_path / "images")
    memory = fsspec.filesystem("memory")
    try:
        for name in written:
            memory.pipe(f"/any_source/{name}", (tmp_path / "images" / name).read_bytes())
        protect("memory://any_source", tmp_path / "remote")
        passes(tmp_path / "remote", 8)
    finally:
        memory.rm("/any_source", recursive=True)
    protect(tmp_path / "images", tmp_path / "local")
    for name in ("00000.tar", "00001.tar", "manifest.json"):
        assert (tmp_path / "remote" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()


def test_a_hugging_face_dataset_is_protected_and_found_again_from_another_folder(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    images = [{"bytes": saved(photo(number), "PNG"), "path": None} for number in range(8)]
    rows = datasets.Dataset.from_dict({"image": images, "label": [n % 2 for n in range(8)]}, features=features)
    (tmp_path / "data").mkdir()
    rows.to_parquet(tmp_path / "data" / "train.parquet")
    monkeypatch.chdir(tmp_path)
    protect("hf:data,split=train", "out")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert manifest(tmp_path / "out")["classes"] == ["cat", "dog"]
    passes(tmp_path / "out", 8)
    datasets.enable_progress_bars()


def test_cifar_is_protected_and_its_originals_are_found(tmp_path, monkeypatch):
    write_cifar(tmp_path / "data", 10, monkeypatch)
    out = tmp_path / "out"
    result = protect(f"cifar10:{tmp_path / 'data'},split=all", out, crop=0)
    assert (manifest(out)["image"]["height"], manifest(out)["image"]["sizes"]) == (32, "one")
    passes(out, result.samples)
