"""Read shards with the standard library, Pillow and NumPy: nothing of semshard is needed.

python examples/load_tarfile.py shards
"""

import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch
from first_batch import manifest, show
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor


def samples(shards: str, image: str) -> Iterator[tuple[Image.Image, int]]:
    """Picture and label of every sample; `image` is the extension of the pictures."""
    for path in sorted(Path(shards).glob("*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:  # KEY.cls comes before the picture of the same KEY
                extension = entry.name.partition(".")[2]
                if extension == "cls":
                    label = int(tar.extractfile(entry).read())
                elif extension == image:
                    yield Image.open(tar.extractfile(entry)).convert("RGB"), label


def main(shards: str) -> None:
    about = manifest(shards)
    pictures, labels = zip(*samples(shards, about["fields"]["image"]), strict=True)
    show([(torch.stack([*map(pil_to_tensor, pictures)]) / 255, torch.tensor(labels))], len(about["classes"]))


if __name__ == "__main__":
    main(sys.argv[1])
