"""Hugging Face datasets that lie on this machine, read by the library itself; nothing is fetched."""

import io
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from semshard.errors import RejectedImage, SourceError

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is imported
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library's own imports
    datasets = pytest.importorskip("datasets")

from semshard.sources.hf import HuggingFace, belongs


def picture(shade, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(file, kind)
    return file.getvalue()


PICTURES = [picture(shade) for shade in range(5)]
SCALARS = {int: "int64", str: "string", float: "float64", bool: "bool"}


def rows(labels, names=None, **more):
    """A dataset of pictures with labels: of a ClassLabel where there are names."""
    kind = datasets.ClassLabel(names=names) if names else datasets.Value(SCALARS[type(labels[0])])
    images = [{"bytes": PICTURES[i % 5], "path": None} for i in range(len(labels))]
    features = {"image": datasets.Image(), "label": kind} | {name: datasets.Image() for name in more}
    return datasets.Dataset.from_dict({"image": images, "label": labels} | more, features=datasets.Features(features))


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory, monkeypatch):
    """No progress bars of the tests' own writing, and no traces in the owner's cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def as_parquet(folder, dataset, split="train"):
    folder.mkdir(exist_ok=True)
    dataset.to_parquet(folder / f"{split}.parquet")
    return str(folder)


def as_saved(folder, dataset):
    dataset.save_to_disk(folder)
    return str(folder)


def entries(source):
    return [source.entry(number) for number in range(len(source))]


def label_names(source):
    return [None if entry.label is None else source.classes[entry.label] for entry in entries(source)]


@pytest.mark.parametrize("lay", [as_parquet, as_saved])
def test_rows_are_read_by_number_as_they_were_written(tmp_path, lay):
    place = lay(tmp_path / "d", rows([1, 0, 1, 2, 0], names=["ant", "bee", "cat", "none"]))
    source = HuggingFace(place)
    assert source.classes == ("ant", "bee", "cat", "none")
    assert label_names(source) == ["bee", "ant", "bee", "cat", "ant"]
    assert [entry.name for entry in entries(source)] == [f"train/{i:07d}" for i in range(5)]
    assert [source.read(number) for number in (4, 0, 3, 1, 2)] == [PICTURES[i] for i in (4, 0, 3, 1, 2)]
    assert (source.shards, source.carried(0), source.folders) == (None, {}, (str(tmp_path / "d"),))
    assert (source.spec, source.digest) == (f"hf:{place}", HuggingFace(place).digest)


def test_a_folder_of_images_is_read_by_its_class_folders(tmp_path):
    for name, shade in (("cats/a", 0), ("cats/b", 1), ("dogs/a", 2)):
        (tmp_path / f"{name}.png").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(PICTURES[shade])
    (tmp_path / "dogs" / "broken.png").write_bytes(b"broken")
    (tmp_path / "dogs" / "empty.png").write_bytes(b"")
    source = HuggingFace(str(tmp_path))
    assert [source.read(number) for number in range(4)] == [*PICTURES[:3], b"broken"]
    assert [entry.reason for entry in entries(source)] == ["", "", "", "", "is empty"]
    assert label_names(source) == ["cats", "cats", "dogs", "dogs", None]


@pytest.mark.parametrize("lay", [as_parquet, as_saved])
def test_split_image_and_label_are_chosen(tmp_path, lay):
    test = rows([3, 1], other=[{"bytes": b"other", "path": None}] * 2).rename_column("label", "kind")
    place = str(tmp_path / "d")
    if lay is as_parquet:
        as_parquet(tmp_path / "d", test, "test")
    else:
        datasets.DatasetDict({"test": test}).save_to_disk(place)
    source = HuggingFace(place, split="test", image="other", label="kind")
    assert source.spec == f"hf:{place},split=test,image=other,label=kind"
    assert (label_names(source), source.read(1)) == (["3", "1"], b"other")
    assert source.entry(1).name == "test/0000001"
    for options, message in (
        ({"label": "kind"}, r"train.*test"),
        ({"split": "test", "label": "kind"}, "has several columns of pictures: image, other; choose with image=COLUMN"),
        ({"split": "test", "image": "x"}, "has no column 'x', only: image, kind, other; choose with image=COLUMN"),
        ({"split": "test", "image": "image"}, "has no column 'label', only: image, kind, other; choose with label="),
    ):
        with pytest.raises(SourceError, match=message):
            HuggingFace(place, **options)


def test_what_was_saved_as_one_split_has_no_others(tmp_path):
    with pytest.raises(SourceError, match="was saved as one split; leave out split=test"):
        HuggingFace(as_saved(tmp_path / "d", rows([0, 1])), split="test")


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([10, 9, None], ("9", "10"), ["10", "9", None]),
        (["dog", " cat ", ""], ("cat", "dog"), ["dog", "cat", None]),
        ([0.5, 1.0], (), [None, None]),
        ([True, False], (), [None, None]),
    ],
)
def test_labels_are_integers_or_text(tmp_path, labels, classes, expected):
    source = HuggingFace(as_parquet(tmp_path / "d", rows(labels)))
    assert (source.classes, label_names(source)) == (classes, expected)


def test_a_row_without_label_or_picture_has_a_reason(tmp_path):
    dataset = rows([0, None, -1, 1, 1], names=["a", "b"])
    images = [*[{"bytes": data, "path": None} for data in PICTURES[:3]], None, {"bytes": b"", "path": None}]
    dataset = dataset.remove_columns("image").add_column("image", images).cast_column("image", datasets.Image())
    source = HuggingFace(as_parquet(tmp_path / "d", dataset))
    assert [e.reason for e in entries(source)] == ["", *["has no label"] * 2, *["has no picture"] * 2]
    with pytest.raises(RejectedImage, match="has no picture"):
        source.read(3)


def test_a_table_cannot_name_files_outside_the_dataset(tmp_path, monkeypatch):
    private = tmp_path / "private.png"
    private.write_bytes(PICTURES[0])
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "inside.png").write_bytes(PICTURES[1])
    paths = [
        f"{tmp_path}/d/inside.png",
        f"{tmp_path}/d/missing.png",
        str(private),
        f"{tmp_path}/d/../private.png",
        f"file://{private}",
        f"local://{private}",
        f"simplecache::file://{private}",
        "https://localhost/x.png",
        "private.png",
    ]
    features = datasets.Features({"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    table = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": path} for path in paths]}, features=features)
    place = as_parquet(tmp_path / "d", table.add_column("label", list(range(len(paths)))))
    monkeypatch.chdir(tmp_path / "d")
    source = HuggingFace(place, image="image")
    assert source.read(0) == PICTURES[1]
    outside = "its picture lies outside the dataset"
    reasons_of_rows = [entry.reason for entry in entries(source)]
    assert (reasons_of_rows[0], reasons_of_rows[2:8]) == ("", [outside] * 6)
    assert all(reason.startswith("cannot be read: ") for reason in (reasons_of_rows[1], reasons_of_rows[8])), (
        "in the folder, but missing"
    )


@pytest.mark.parametrize(
    ("path", "is_its_own"),
    [
        ("hf://datasets/owner/name@0123/train/0.png", True),
        ("zip://a.png::hf://datasets/owner/name@main/train.zip", True),
        ("hf://datasets/owner/other@main/a.png", False),
        ("file::hf://datasets/owner/name@main/a.png", False),
        ("zip://a.png::/home/owner/photos.zip", False),
        ("/etc/passwd", False),
        ("file:///etc/passwd", False),
        ("https://localhost/camera.jpg", False),
    ],
)
def test_a_dataset_on_the_hub_holds_only_what_lies_in_its_repository(path, is_its_own):
    assert belongs(path, "owner/name") == is_its_own


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{0}/none", "Couldn't find any data file at"),
        ("{0}/empty", "."),
        pytest.param("nobody/nothing", "nobody/nothing", marks=pytest.mark.slow),  # the library tries the hub for long
    ],
)
def test_what_the_library_says_is_told_in_one_line(tmp_path, place, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=message) as error:
        HuggingFace(place.format(tmp_path))
    assert "\n" not in str(error.value)


def test_an_unknown_split_is_told(tmp_path):
    place = as_parquet(tmp_path / "d", rows([0, 1]))
    with pytest.raises(SourceError, match=r"Bad split: nope\. Available splits"):
        HuggingFace(place, split="nope")


def test_pictures_leave_no_file_behind(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    source = HuggingFace(as_parquet(tmp_path / "d", rows([0, 1])))
    assert source.read(1) == PICTURES[1]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_progress_bars_are_as_they_were(tmp_path):
    datasets.enable_progress_bars()
    HuggingFace(as_parquet(tmp_path / "d", rows([0, 1])))
    assert not datasets.are_progress_bars_disabled()


def test_without_the_library_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['datasets'] = None\n"
        "from semshard.errors import SourceError\n"
        "from semshard.sources.hf import HuggingFace\n"
        "try: HuggingFace('x')\n"
        "except SourceError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'semshard[hf]'" in done.stdout
