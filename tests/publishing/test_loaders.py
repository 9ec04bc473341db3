"""Folders as protect writes them are opened by datasets and by mlcroissant, which know nothing of semshard."""

import re

import numpy as np
import pytest

import semshard
from tests.support.formats import SETS

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other people's libraries


def opened_by_datasets(folder, cache, **options):
    from datasets import load_dataset

    return load_dataset(str(folder), cache_dir=str(cache), split="train", **options)


def records(folder, cache, monkeypatch, which="samples"):
    """What mlcroissant reads."""
    import mlcroissant

    _unpacking_into(cache, monkeypatch)
    return list(mlcroissant.Dataset(str(folder / "croissant.json")).records(which))


def _unpacking_into(cache, monkeypatch):
    """mlcroissant unpacks tars into one folder for all, by the names that they have: each test gets its own."""
    from etils import epath

    monkeypatch.setattr("mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(cache))


@pytest.mark.parametrize("name", SETS)
def test_a_folder_is_a_dataset_of_its_samples(folder, tmp_path, name):
    out = folder(name)
    shards, rows = semshard.open_shards(out), opened_by_datasets(out, tmp_path / "cache")
    assert len(rows) == len(shards) == 8
    assert rows.features["cls"].names == list(shards.classes)
    for row, sample in zip(rows, shards, strict=True):
        assert (row["__key__"], row["cls"], row[shards.fields.about]) == (sample.key, sample.label, sample.about)
        np.testing.assert_array_equal(np.asarray(row[shards.fields.image]), sample.image)


@pytest.mark.parametrize("name", ["one size", *SETS])
def test_what_the_card_says_of_loading_works(folder, finished, tmp_path, monkeypatch, name):
    out = finished / "shards" if name == "one size" else folder(name)
    monkeypatch.chdir(out)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    _unpacking_into(tmp_path / "unpacked", monkeypatch)
    text = (out / "README.md").read_text().replace("PATH/OF/THIS/FOLDER", str(out))
    by_datasets, by_webdataset, by_croissant = (
        _run(code) for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    )
    shards = semshard.open_shards(out)
    assert by_datasets["dataset"].num_rows == len(list(by_croissant["records"])) == len(shards)
    image, label = next(iter(by_webdataset["loader"]))
    assert image.shape[-3] == 3
    assert np.all(np.asarray(label) < len(shards.classes))


def _run(code):
    names = {}
    exec(code, names)  # noqa: S102 - the code that the card shows
    return names


def test_images_of_one_size_are_a_dataset_and_can_be_streamed(finished, tmp_path):
    rows = opened_by_datasets(finished / "shards", tmp_path / "cache")
    assert (len(rows), rows[0]["png"].size) == (40, (32, 32))
    streamed = opened_by_datasets(finished / "shards", tmp_path / "cache", streaming=True)
    assert [row["__key__"] for row in streamed] == rows["__key__"][:]


def test_fields_of_the_source_are_columns_also_where_samples_lack_them(folder, tmp_path):
    rows = opened_by_datasets(folder("carried"), tmp_path / "cache")
    assert [row["txt"] for row in rows][:3] == ["caption 0", None, "caption 2"]
    assert [row["json"]["more"] for row in rows][:2] == [{"a": 1}, [1, "x"]]
    assert (rows[5]["xyz"], rows[5]["mask.png"].mode, rows[4]["xyz"]) == (b"\x00\xff", "RGB", None)


@pytest.mark.parametrize("name", SETS)
def test_croissant_gives_the_samples(folder, tmp_path, monkeypatch, name):
    out = folder(name)
    shards, found = semshard.open_shards(out), records(out, tmp_path / "cache", monkeypatch)
    by_key = {record["samples/key"].decode(): record for record in found}
    assert len(found) == len(by_key) == len(shards)
    for sample in shards:
        record = by_key[sample.key]
        np.testing.assert_array_equal(np.asarray(record["samples/image"]), sample.image)
        assert record["samples/label"] == sample.label
        for measured in ("width", "height", "linf"):
            assert record[f"samples/{measured}"] == sample.about[measured]


def test_croissant_is_valid_and_says_what_is_required(folder, tmp_path, monkeypatch):
    import mlcroissant

    out = folder("png")
    stated = {"title": "Birds & <bees>", "licence": "cc-by-4.0", "creator": "An owner", "date": "2026-01-31"}
    semshard.card(out, url="https://example.org/birds/", **stated)
    metadata = mlcroissant.Dataset(str(out / "croissant.json")).metadata
    assert not metadata.ctx.issues.errors
    assert not metadata.ctx.issues.warnings
    assert metadata.conforms_to == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert metadata.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert (metadata.url, metadata.creators[0].name) == ("https://example.org/birds/", "An owner")
    assert metadata.data_limitations
    assert metadata.personal_sensitive_information
    names = [record["classes/name"] for record in records(out, tmp_path / "cache", monkeypatch, "classes")]
    assert names == list(semshard.open_shards(out).classes)
