"""Export shards to a folder of image files for each class, and load them with torchvision's ImageFolder.

python examples/load_image_folder.py shards
"""

import sys
from pathlib import Path

import torch
from first_batch import show
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import semshard


def main(shards: str) -> None:
    folder = Path(f"{Path(shards)}-folder")
    if not folder.exists():
        semshard.export(shards, folder, to="folder")
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    dataset = ImageFolder(folder, transform, allow_empty=True)  # a class may have no image; its label is not reused
    print("classes", *dataset.classes)
    show(DataLoader(dataset, 16, shuffle=True, num_workers=2), len(dataset.classes))


if __name__ == "__main__":
    main(sys.argv[1])
