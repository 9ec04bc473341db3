"""ImageNet in small: a few WNIDs in each of the layouts, with a devkit in the form of the release."""

from __future__ import annotations

import hashlib
import shutil
import tarfile

import numpy as np
import pytest
import torch
import torchvision.datasets.imagenet as peer
from scipy.io import savemat

from semshard.errors import RejectedImage, SourceError
from semshard.sources.imagenet import DEVKIT, ImageNet, _described

WORDS = {  # not sorted, as in the devkit, whose numbers are no order of WNIDs
    "n02119789": "kit fox, Vulpes macrotis",
    "n01440764": "tench, Tinca tinca",
    "n02100735": "English setter",
    "n01443537": "goldfish, Carassius auratus",
}
WNIDS = sorted(WORDS)
TRUTH = ["n02100735", "n01440764", "n01440764", "n02119789", "n01443537"]  # of validation images 1 to 5


def write(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or path.name.encode())


def train(root, wnids=WNIDS, each=2):
    for wnid in wnids:
        for number in range(each):
            write(root / "train" / wnid / f"{wnid}_{number}.JPEG")


def flat(root):
    for number in range(1, len(TRUTH) + 1):
        write(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")


def devkit(root):
    """meta.mat with the release's fields, and a synset that is made of others."""
    fields = [
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    ]
    rows = [(n, wnid, WORDS[wnid], "a gloss", 0, np.zeros((1, 0)), 0, 1300) for n, wnid in enumerate(WORDS, 1)]
    rows.append((5, "n02083346", "canine, canid", "a gloss", 2, np.array([[1, 3]]), 1, 0))
    synsets = np.empty((len(rows), 1), dtype=[(field, object) for field in fields])
    synsets[:, 0] = rows
    data = root / DEVKIT / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": synsets})
    numbers = {wnid: n for n, wnid in enumerate(WORDS, 1)}
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{numbers[wnid]}\n" for wnid in TRUTH))


def packed(root):
    """The devkit as its tar.gz."""
    devkit(root)
    with tarfile.open(root / f"{DEVKIT}.tar.gz", "w:gz") as tar:
        tar.add(root / DEVKIT, DEVKIT)
    shutil.rmtree(root / DEVKIT)


def kaggle(root):
    """What Kaggle's archive unpacks to; the images are below ILSVRC/Data/CLS-LOC."""
    images = root / "ILSVRC" / "Data" / "CLS-LOC"
    train(images)
    flat(images)
    write(images / "test" / "ILSVRC2012_test_00000001.JPEG")
    write(root / "ILSVRC" / "Annotations" / "CLS-LOC" / "val" / "ILSVRC2012_val_00000001.xml")
    rows = [f"ILSVRC2012_val_{n:08d},{TRUTH[n - 1]} 1 2 3 4 {TRUTH[n - 1]} 5 6 7 8 " for n in (3, 1, 5, 2, 4)]
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} {WORDS[wnid]}\n" for wnid in WNIDS))


def labelled(source):
    """Name of each file → WNID of its label, or its reason."""
    entries = [source.entry(number) for number in range(len(source))]
    return {e.name: e.reason if e.label is None else source.classes[e.label].split()[0] for e in entries}


def test_train_has_the_folders_of_wnids_as_classes_in_sorted_order(tmp_path):
    train(tmp_path)
    source = ImageNet(str(tmp_path))
    assert source.classes == tuple(WNIDS)  # their words are unknown
    assert labelled(source) == {f"train/{wnid}/{wnid}_{n}.JPEG": wnid for wnid in WNIDS for n in range(2)}
    assert source.read(3) == source.entry(3).name.split("/")[-1].encode()
    assert source.spec == f"imagenet:{tmp_path}"


@pytest.mark.parametrize("tell", [devkit, packed])
def test_flat_validation_files_have_the_labels_of_the_devkit(tmp_path, tell):
    flat(tmp_path)
    tell(tmp_path)
    source = ImageNet(str(tmp_path), split="val")
    assert source.classes == tuple(f"{wnid} {WORDS[wnid]}" for wnid in WNIDS)
    assert labelled(source) == {f"val/ILSVRC2012_val_{n:08d}.JPEG": wnid for n, wnid in enumerate(TRUTH, 1)}
    assert source.spec == f"imagenet:{tmp_path},split=val"


def test_the_devkit_is_read_as_torchvision_reads_it(tmp_path, monkeypatch):
    packed(tmp_path)
    flat(tmp_path)
    archive = tmp_path / f"{DEVKIT}.tar.gz"
    monkeypatch.setitem(peer.ARCHIVE_META, "devkit", (archive.name, hashlib.md5(archive.read_bytes()).hexdigest()))
    peer.parse_devkit_archive(tmp_path)
    words, truth = torch.load(tmp_path / "meta.bin", weights_only=True)
    source = ImageNet(str(tmp_path), split="val")
    assert [f"{wnid} {', '.join(words[wnid])}" for wnid in sorted(words)] == list(source.classes)
    assert list(labelled(source).values()) == truth


def test_validation_files_in_folders_have_the_labels_of_train(tmp_path):
    train(tmp_path)
    for wnid in WNIDS[1:]:
        write(tmp_path / "val" / wnid / "ILSVRC2012_val_00000001.JPEG")
    both = [ImageNet(str(tmp_path), split=split) for split in ("train", "val")]
    assert both[0].classes == both[1].classes
    assert list(labelled(both[1]).values()) == WNIDS[1:]


@pytest.mark.parametrize("below", ["", "ILSVRC"])
def test_what_kaggle_packs_is_read_from_its_top_and_with_its_tables(tmp_path, below):
    kaggle(tmp_path)
    if below:  # the tables have to lie in the folder that is named
        for name in ("LOC_val_solution.csv", "LOC_synset_mapping.txt"):
            (tmp_path / name).rename(tmp_path / below / name)
    for split, files in (("train", 8), ("val", 5)):
        source = ImageNet(str(tmp_path / below), split=split)
        assert len(source) == files
        assert source.classes == tuple(f"{wnid} {WORDS[wnid]}" for wnid in WNIDS)
        assert all(source.entry(number).label is not None for number in range(files))
    assert list(labelled(source).values()) == TRUTH


def test_a_folder_of_wnids_may_be_named_itself(tmp_path):
    train(tmp_path)
    (tmp_path / "train" / "LOC_synset_mapping.txt").write_text(f"{WNIDS[0]} {WORDS[WNIDS[0]]}\n")
    source = ImageNet(str(tmp_path / "train"))
    assert source.entry(0).name == "n01440764/n01440764_0.JPEG"
    assert len(source) == 8
    assert source.classes == ("n01440764 tench, Tinca tinca", *WNIDS[1:])
    with pytest.raises(SourceError, match="itself a folder of WNIDs and has no splits"):
        ImageNet(str(tmp_path / "train"), split="val")


@pytest.mark.parametrize("tell", ["train", "devkit"])
def test_the_first_classes_are_the_same_in_both_splits(tmp_path, tell):
    flat(tmp_path)
    devkit(tmp_path)
    if tell == "train":
        train(tmp_path)
    source = ImageNet(str(tmp_path), first=2, split="val")
    assert source.classes == tuple(f"{wnid} {WORDS[wnid]}" for wnid in WNIDS[:2])
    assert list(labelled(source).values()) == [wnid for wnid in TRUTH if wnid in WNIDS[:2]]
    assert source.remarks == ()
    assert source.spec == f"imagenet2:{tmp_path},split=val"


def test_imagenet100_takes_a_hundred_and_remarks_where_there_are_fewer(tmp_path):
    train(tmp_path, [f"n{number:08d}" for number in range(1, 120)], each=1)
    source = ImageNet(str(tmp_path), first=100)
    assert len(source) == len(source.classes) == 100
    assert source.classes[-1] == "n00000100"
    for number in range(50, 120):
        shutil.rmtree(tmp_path / "train" / f"n{number:08d}")
    assert ImageNet(str(tmp_path), first=100).remarks == ("there are only 49 classes, not 100",)


def test_validation_files_of_classes_that_train_lacks_are_left_out_and_counted(tmp_path):
    train(tmp_path, WNIDS[:1])
    flat(tmp_path)
    devkit(tmp_path)
    source = ImageNet(str(tmp_path), split="val")
    assert set(labelled(source).values()) == {WNIDS[0]}
    assert source.remarks == ("3 images of classes that are not in train/ are left out",)


def test_the_words_of_the_thousand_and_of_the_first_hundred_are_known_without_a_devkit():
    wnids = [f"n{number:08d}" for number in range(1000)]
    for count in (1000, 100):
        assert _described(wnids[:count], {}) == wnids[:count]  # others than those of ImageNet
        sha256 = hashlib.sha256("\n".join(wnids[:count]).encode()).hexdigest()
        described = _described(wnids[:count], {}, {count: sha256})
        assert described[:2] == ["n00000000 tench", "n00000001 goldfish"]
        assert len(described) == count


def test_what_lies_elsewhere_is_an_input_with_a_reason_and_hidden_files_are_none(tmp_path):
    train(tmp_path)
    for name in ("notes.txt", "n01440764/deeper/picture.JPEG", "dogs/picture.JPEG", "n01440764/.picture.JPEG.swp"):
        write(tmp_path / "train" / name)
    source = ImageNet(str(tmp_path))
    reasons = {name: value for name, value in labelled(source).items() if value not in WNIDS}
    assert set(reasons) == {"train/notes.txt", "train/n01440764/deeper/picture.JPEG", "train/dogs/picture.JPEG"}
    assert set(reasons.values()) == {"not at WNID/FILE, nor an image of the ground truth"}


def test_a_validation_image_beyond_the_ground_truth_has_no_label(tmp_path):
    flat(tmp_path)
    devkit(tmp_path)
    write(tmp_path / "val" / "ILSVRC2012_val_00000006.JPEG")
    assert "nor an image of the ground truth" in labelled(ImageNet(str(tmp_path), split="val")).popitem()[1]


def test_names_do_not_have_to_end_like_pictures(tmp_path):
    write(tmp_path / "train" / WNIDS[0] / "n01440764_1.png")
    write(tmp_path / "train" / WNIDS[1] / "no ending")
    assert list(labelled(ImageNet(str(tmp_path))).values()) == WNIDS[:2]


def test_a_file_that_vanished_is_rejected(tmp_path):
    train(tmp_path)
    source = ImageNet(str(tmp_path))
    (tmp_path / source.entry(1).name).unlink()
    with pytest.raises(RejectedImage, match="vanished"):
        source.read(1)


def test_the_digest_follows_names_and_labels(tmp_path):
    train(tmp_path)
    first = ImageNet(str(tmp_path)).digest
    assert ImageNet(str(tmp_path)).digest == first
    assert ImageNet(str(tmp_path), first=2).digest != first
    moved = tmp_path / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    moved.rename(tmp_path / "train" / WNIDS[1] / moved.name)
    assert ImageNet(str(tmp_path)).digest != first


def test_it_is_read_through_fsspec(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    kaggle(tmp_path)
    memory.put(str(tmp_path), "/imagenet-test", recursive=True)
    try:
        source = ImageNet("memory://imagenet-test", split="val")
        assert list(labelled(source).values()) == TRUTH
        assert source.read(0) == b"ILSVRC2012_val_00000001.JPEG"
        assert source.spec == "imagenet:memory://imagenet-test,split=val"
    finally:
        memory.rm("/imagenet-test", recursive=True)


def tars(root):
    write(root / "train" / "n01440764.tar")


def only_train(root):
    train(root)


def broken_archive(root):
    flat(root)
    write(root / f"{DEVKIT}.tar.gz", b"\x1f\x8b\x08\x00broken")


def broken_meta(root):
    flat(root)
    devkit(root)
    write(root / DEVKIT / "data" / "meta.mat", b"MATLAB 5.0 MAT-file".ljust(200))


def truth_of_another(root):
    flat(root)
    devkit(root)
    write(root / DEVKIT / "data" / "ILSVRC2012_validation_ground_truth.txt", b"1\n99\n")


def photos(root):
    write(root / "holiday" / "beach.jpg")


@pytest.mark.parametrize(
    ("lay", "split", "message"),
    [
        (photos, "train", "is not an ImageNet folder; write imagenet:DIR, with DIR/train/WNID"),
        (tars, "train", "train/ holds tar files; unpack each into a folder named like it, train/WNID/"),
        (only_train, "val", "has no val/; it holds the other split only"),
        (flat, "val", "val/ is flat and its ground truth is missing; put ILSVRC2012_devkit_t12.tar.gz"),
        (broken_archive, "val", "ILSVRC2012_devkit_t12.tar.gz: cannot be read: .*get it from the release again"),
        (broken_meta, "val", "meta.mat holds no table of synsets"),
        (truth_of_another, "val", "names synset 99, which meta.mat lacks"),
        (only_train, "test", "no split 'test'; choose from train, val"),
    ],
)
def test_errors_tell_what_is_expected(tmp_path, lay, split, message):
    lay(tmp_path)
    with pytest.raises(SourceError, match=message):
        ImageNet(str(tmp_path), split=split)
