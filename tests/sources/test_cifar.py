"""Batches of the published form, written here with MD5 sums of their own, which torchvision's table is given."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from semshard.errors import SourceError
from semshard.sources.cifar import Cifar

EACH = 6  # images in a batch
DATASETS = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}


def pixels(seed):
    """(EACH, 32, 32, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (EACH, 32, 32, 3), dtype=np.uint8)


def batch(classes, seed):
    """As the published ones: rows of 3 × 32 × 32 in a pickle of Python 2's time."""
    rows = pixels(seed).transpose(0, 3, 1, 2).reshape(EACH, -1)
    labels = [(seed + number) % classes for number in range(EACH)]
    content = {"data": rows, "labels": labels}
    if classes == 100:
        content = {"data": rows, "fine_labels": labels, "coarse_labels": [0] * EACH}
    legacy = pickle.dumps(content, protocol=2).replace(b"\x89\x88\x87", b"K\x00K\x01\x87")  # dtype's flags were 0 and 1
    return legacy.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture(params=DATASETS, ids="cifar{}".format)
def published(request, tmp_path, monkeypatch):
    """(number of classes, folder that holds the batches' folder)."""
    classes = request.param
    dataset = DATASETS[classes]
    folder = tmp_path / "data" / dataset.base_folder
    folder.mkdir(parents=True)
    names = [name for name, _ in dataset.train_list + dataset.test_list]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(batch(classes, seed))
    meta = {dataset.meta["key"]: [f"kind {number:02d}" for number in range(classes)]}
    (folder / dataset.meta["filename"]).write_bytes(pickle.dumps(meta))

    def md5(name):
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    monkeypatch.setattr(dataset, "train_list", [[name, md5(name)] for name in names[:-1]])
    monkeypatch.setattr(dataset, "test_list", [[names[-1], md5(names[-1])]])
    monkeypatch.setattr(dataset, "meta", dataset.meta | {"md5": md5(dataset.meta["filename"])})
    return classes, folder.parent


@pytest.fixture
def archive(published, tmp_path, monkeypatch):
    """(number of classes, the tar.gz as downloaded)."""
    classes, place = published
    dataset = DATASETS[classes]
    path = tmp_path / "downloads" / dataset.filename
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(place / dataset.base_folder, dataset.base_folder)
    monkeypatch.setattr(dataset, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    return classes, path


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def everything(source):
    entries = [source.entry(number) for number in range(len(source))]
    return [(entry.name, entry.label, source.read(number).tobytes()) for number, entry in enumerate(entries)]


def test_train_is_all_batches_in_order_with_fine_labels_and_class_names(published):
    classes, place = published
    source = Cifar(str(place), classes)
    batches = 5 if classes == 10 else 1
    assert len(source) == batches * EACH
    assert source.classes == tuple(f"kind {number:02d}" for number in range(classes))
    for number in range(len(source)):
        seed, index = divmod(number, EACH)
        assert source.entry(number).name == f"train/{number:05d}"
        assert source.entry(number).label == (seed + index) % classes
        assert np.array_equal(source.read(number), pixels(seed)[index])
    assert source.read(0).dtype == np.uint8
    assert source.read(0).flags.c_contiguous


def test_all_is_train_then_test(published):
    classes, place = published
    train, test, both = (Cifar(str(place), classes, split) for split in ("train", "test", "all"))
    assert everything(both) == everything(train) + everything(test)
    assert test.entry(0).name == "test/00000"
    assert len({train.digest, test.digest, both.digest}) == 3


def test_the_holder_of_the_folder_the_folder_under_any_name_and_the_archive_are_the_same_images(archive, published):
    classes, place = published
    below = place / DATASETS[classes].base_folder
    renamed = Path(shutil.copytree(below, place.parent / "my batches"))
    holder = archive[1].parent  # the tar.gz lies in it
    sources = [Cifar(str(where), classes) for where in (place, below, renamed, archive[1], holder)]
    assert all(everything(source) == everything(sources[0]) for source in sources)
    assert len({source.digest for source in sources}) == 1


def test_the_spec_names_the_kind_the_place_and_the_split(published):
    classes, place = published
    assert Cifar(str(place), classes).spec == f"cifar{classes}:{place}"
    assert Cifar(str(place), classes, "test").spec == f"cifar{classes}:{place},split=test"


def test_nothing_is_left_of_an_archive_once_it_was_read(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    classes, path = archive
    source = Cifar(str(path), classes)
    assert list((tmp_path / "unpacked").iterdir()) == []
    assert np.array_equal(source.read(0), pixels(0)[0])


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_a_batch_with_a_wrong_checksum_is_refused_without_being_unpickled(published, split, tmp_path):
    classes, place = published
    dataset = DATASETS[classes]
    made = tmp_path / "made by the pickle"
    for name, _ in [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], "")]:
        path = place / dataset.base_folder / name
        good = path.read_bytes()
        path.write_bytes(pickle.dumps(Bomb(made)))
        with pytest.raises(SourceError, match=f"{name} is not the published file") as refused:
            Cifar(str(place), classes, split)
        assert "MD5" in str(refused.value)
        path.write_bytes(good)
    assert not made.exists()
    pickle.loads(pickle.dumps(Bomb(made)))
    assert made.exists()  # so it would have shown


def test_an_archive_with_a_wrong_checksum_is_not_even_unpacked(archive, tmp_path):
    classes, path = archive
    made = tmp_path / "made by the pickle"
    evil = tmp_path / "evil"
    evil.write_bytes(pickle.dumps(Bomb(made)))
    with tarfile.open(path, "w:gz") as tar:
        tar.add(evil, f"{DATASETS[classes].base_folder}/{DATASETS[classes].train_list[0][0]}")
    with pytest.raises(SourceError, match=r"is not cifar-.*\.tar\.gz as published: its MD5 differs"):
        Cifar(str(path), classes)
    assert not made.exists()


def test_a_missing_batch_is_named(published):
    classes, place = published
    name = DATASETS[classes].test_list[0][0]
    (place / DATASETS[classes].base_folder / name).unlink()
    with pytest.raises(SourceError, match=f"lacks {name}"):
        Cifar(str(place), classes)


def test_where_nothing_is_the_error_tells_the_form(tmp_path):
    for place in (tmp_path, tmp_path / "nothing", tmp_path / "nothing.tar.gz"):
        with pytest.raises(
            SourceError, match=r"there is no cifar10 at .*write cifar10:DIR, with the folder cifar-10-bat"
        ):
            Cifar(str(place), 10)
    with pytest.raises(SourceError, match="no split 'val'; choose from train, test, all"):
        Cifar(str(tmp_path), 100, "val")
    with pytest.raises(SourceError, match="copy s3://bucket/cifar to it first"):
        Cifar("s3://bucket/cifar", 10)
