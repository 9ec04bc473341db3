"""Export shards to Parquet, and load them with Hugging Face `datasets`: pictures, and classes with names.

python examples/load_hf_parquet.py shards
"""

import sys
from pathlib import Path

import datasets
from first_batch import show
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import pil_to_tensor

import semshard


def tensors(samples: dict) -> dict:
    """Pictures as float (3, H, W) in [0, 1]."""
    pictures = [pil_to_tensor(picture.convert("RGB")) / 255 for picture in samples["image"]]
    return {"images": pictures, "labels": samples["label"]}


def main(shards: str) -> None:
    folder = Path(f"{Path(shards)}-parquet")
    if not folder.exists():
        semshard.export(shards, folder, to="parquet")
    dataset = datasets.load_dataset(str(folder), split="train")
    first, label = dataset[0], dataset.features["label"]
    print(first["key"], label.int2str(first["label"]), first["image"].size)
    loader = DataLoader(dataset.with_transform(tensors), 16, shuffle=True)
    show(((batch["images"], batch["labels"]) for batch in loader), label.num_classes)


if __name__ == "__main__":
    main(sys.argv[1])
