"""The checklist of original files: it says what is there, names what is missing, and passes only the whole data set."""

import json
import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

import semshard
from semshard.sources import check
from semshard.sources.imagenet import DEVKIT
from tests.support.cifar import EACH, write_cifar
from tests.support.command import semshard as command
from tests.support.faces import by_image, faces, write_lists

WNIDS = [f"n{number:08d}" for number in range(1, 102)]  # one more than the paper's subset
TRAIN = 2  # images of a class, as the devkit here says


def checks(spec):
    found = semshard.check_source(spec)
    return found.ok, {each.what: each for each in found.checks}


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)).save(path)


# --- CIFAR -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_is_whole_when_every_published_file_and_image_is_there(classes, tmp_path, monkeypatch):
    write_cifar(tmp_path, classes, monkeypatch)
    batches = {10: 5, 100: 1}[classes]
    monkeypatch.setattr(check, "CIFAR", {"train": EACH * batches, "test": EACH})
    ok, found = checks(f"cifar{classes}:{tmp_path}")
    assert ok
    assert found["checksums"].found == f"{batches + 2} of {batches + 2} have the published MD5"
    assert found["train images"].found == f"{EACH * batches} of {EACH * batches} in {classes} classes"
    monkeypatch.undo()  # of the release there would be more
    assert not semshard.check_source(f"cifar{classes}:{tmp_path}").ok


def test_of_cifar_the_files_that_are_missing_or_changed_are_named_and_none_is_unpickled(tmp_path, monkeypatch):
    write_cifar(tmp_path, 10, monkeypatch)
    folder = tmp_path / "cifar-10-batches-py"
    (folder / "data_batch_2").unlink()
    (folder / "test_batch").write_bytes(b"cos\nsystem\n(S'touch /nowhere'\ntR.")
    ok, found = checks(f"cifar10:{tmp_path}")
    assert not ok
    assert found["files"].missing == ("data_batch_2",)
    assert found["checksums"].missing == ("test_batch",)
    assert found.keys() == {"files", "checksums"}


def test_an_archive_that_is_not_the_published_one_is_found_out(tmp_path):
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(b"cut short")
    ok, found = checks(f"cifar100:{tmp_path}")
    assert not ok
    assert found["checksums"].missing == ("cifar-100-python.tar.gz",)


def test_nothing_at_all_is_a_failed_check_not_an_error(tmp_path):
    for spec in ("cifar10", "imagenet", "imagenet100", "facescrub"):
        ok, found = checks(f"{spec}:{tmp_path / 'nowhere'}")
        assert not ok
        assert "nowhere" in next(iter(found.values())).found


# --- ImageNet --------------------------------------------------------------------------------------------------------


@pytest.fixture
def imagenet(tmp_path):
    """The first hundred classes and one more, with a devkit that says how many images there are."""
    first = tmp_path / "first.JPEG"
    picture(tmp_path / "first.png")
    (tmp_path / "first.png").rename(first)
    for split, each in (("train", TRAIN), ("val", 50)):
        for wnid in WNIDS:
            (tmp_path / "data" / split / wnid).mkdir(parents=True)
            for number in range(each):
                os.link(first, tmp_path / "data" / split / wnid / f"{wnid}_{number}.JPEG")
    names = "ILSVRC2012_ID", "WNID", "words", "num_children", "num_train_images"
    synsets = np.empty((len(WNIDS), 1), dtype=[(name, object) for name in names])
    synsets[:, 0] = [(number, wnid, f"thing {number}", 0, TRAIN) for number, wnid in enumerate(WNIDS, 1)]
    (tmp_path / "data" / DEVKIT / "data").mkdir(parents=True)
    savemat(tmp_path / "data" / DEVKIT / "data" / "meta.mat", {"synsets": synsets})
    return tmp_path / "data"


def test_imagenet_is_whole_when_both_splits_have_all_images_of_all_classes(imagenet):
    start = time.perf_counter()
    ok, found = checks(f"imagenet100:{imagenet}")
    assert ok, found
    assert time.perf_counter() - start < 30
    assert found["tables"].found == "meta.mat"
    assert found["train classes"].found == found["val classes"].found == "100 of 100"
    assert found["train images"].found == "200, 0 classes without all of theirs"
    assert found["val images"].found == "5,000, 0 classes without all of theirs"
    assert found["val pictures"].found == "8 of 8 tried can be used"


def test_of_imagenet_missing_classes_and_images_are_named(imagenet):
    shutil.rmtree(imagenet / "train" / WNIDS[7])
    (imagenet / "train" / WNIDS[9] / f"{WNIDS[9]}_1.JPEG").unlink()
    for wnid in WNIDS[20:25]:
        (imagenet / "val" / wnid / f"{wnid}_0.JPEG").unlink()
    (imagenet / "val" / "stray.txt").write_text("?")
    ok, found = checks(f"imagenet100:{imagenet}")
    assert not ok
    assert found["train classes"].missing == (WNIDS[7],)
    assert found["train classes"].found.endswith("99 of 100")
    assert found["train images"].missing == (f"{WNIDS[9]}: 1 of 2",)
    assert found["val images"].missing == (*(f"{wnid}: 49 of 50" for wnid in WNIDS[20:23]), "and 2 more")
    assert found["val files"].missing == ("val/stray.txt",)


def test_without_tables_classes_are_held_against_the_published_list_and_counts_against_its_range(imagenet):
    shutil.rmtree(imagenet / DEVKIT)
    ok, found = checks(f"imagenet100:{imagenet}")
    assert not ok
    assert "not those of the release" in found["train classes"].missing[0]
    assert found["train images"].missing[0] == f"{WNIDS[0]}: 2 of 732 to 1,300"


def test_a_split_that_cannot_be_opened_says_what_it_lacks(imagenet):
    shutil.rmtree(imagenet / "val")
    ok, found = checks(f"imagenet100:{imagenet}")
    assert not ok
    assert "it holds the other split only" in found["val"].found
    assert found["train images"].ok


def test_pictures_that_cannot_be_decoded_are_named(imagenet):
    for path in (imagenet / "train").rglob("*.JPEG"):
        path.unlink()
        path.write_bytes(b"no picture")
    ok, found = checks(f"imagenet100:{imagenet}")
    assert not ok
    assert not found["train pictures"].ok


# --- FaceScrub and others --------------------------------------------------------------------------------------------


def test_of_facescrub_lists_people_and_faces_without_an_image_are_told(tmp_path):
    rows = faces(("Aaron Eckhart", "Alec Baldwin"), 5, 100)
    write_lists(tmp_path, rows)
    for row in rows[:7]:
        by_image(tmp_path, row)
    ok, found = checks(f"facescrub:{tmp_path}")
    assert not ok
    assert found["lists"].missing == ("facescrub_actresses.txt",)
    assert found["images"].found == "7 of 10 faces have one"
    assert found["images"].missing == tuple(f"Alec Baldwin {row.image}_{row.face}" for row in rows[7:])
    assert found["people"].found == "2 of 530"
    assert found["study"].found.startswith("0 people with 120 images")
    assert "none of 7 tried can be used" in found["pictures"].found


def test_a_folder_is_opened_and_a_few_of_its_pictures_decoded(tmp_path):
    for number in range(6):
        picture(tmp_path / "ab"[number % 2] / f"{number}.png")
    ok, found = checks(str(tmp_path))
    assert ok
    assert found["inputs"].found == "6 in 2 classes"
    (tmp_path / "a" / "0.png").write_bytes(b"no picture")
    ok, found = checks(str(tmp_path))
    assert not ok
    assert found["pictures"].missing[0].startswith("a/0.png: ")


def test_the_command_prints_the_list_and_its_exit_code_says_whether_all_is_there(tmp_path):
    for number in range(4):
        picture(tmp_path / "ab"[number % 2] / f"{number}.png")
    assert "nothing is missing" in command("sources", "--check", tmp_path).stdout
    done = command("sources", "--check", f"imagenet100:{tmp_path}", "--json", expect=1)
    assert json.loads(done.stdout)["ok"] is False
