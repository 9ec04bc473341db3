"""CIFAR as published: every image in order, and no pickle opened that the published MD5 does not vouch for."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from semshard.errors import SourceError
from semshard.sources.cifar import Cifar
from tests.support.cifar import DATASETS, EACH, pixels, write_cifar


@pytest.fixture(params=DATASETS, ids="cifar{}".format)
def published(request, tmp_path, monkeypatch):
    """(number of classes, folder that holds the batches' folder)."""
    write_cifar(tmp_path / "data", request.param, monkeypatch)
    return request.param, tmp_path / "data"


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


def test_where_there_is_nothing_the_error_shows_the_form(tmp_path):
    for place in (tmp_path, tmp_path / "nothing", tmp_path / "nothing.tar.gz"):
        with pytest.raises(
            SourceError, match=r"there is no cifar10 at .*write cifar10:DIR, with the folder cifar-10-bat"
        ):
            Cifar(str(place), 10)
    with pytest.raises(SourceError, match="no split 'val'; choose from train, test, all"):
        Cifar(str(tmp_path), 100, "val")
    with pytest.raises(SourceError, match="copy s3://bucket/cifar to it first"):
        Cifar("s3://bucket/cifar", 10)
