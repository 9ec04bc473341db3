"""CIFAR in its published form, written here with MD5 sums of its own, which torchvision's table is given."""

import hashlib
import pickle

import numpy as np
import torchvision.datasets

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


def write_cifar(home, classes, monkeypatch):
    """The folder of batches of CIFAR-10 or CIFAR-100, below `home`."""
    dataset = DATASETS[classes]
    folder = home / dataset.base_folder
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
