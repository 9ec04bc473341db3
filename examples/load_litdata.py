"""Export shards to Parquet, and stream them with LitData, shuffled.

python examples/load_litdata.py shards
"""

import io
import sys
from pathlib import Path

import litdata
import torch
from first_batch import manifest, show
from litdata.streaming.item_loader import ParquetLoader
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

import semshard


def batch(samples: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures as float (N, 3, H, W) in [0, 1], and labels."""
    pictures = [Image.open(io.BytesIO(sample["image"]["bytes"])).convert("RGB") for sample in samples]
    return torch.stack([*map(pil_to_tensor, pictures)]) / 255, torch.tensor([sample["label"] for sample in samples])


def main(shards: str) -> None:
    folder = Path(f"{Path(shards)}-parquet")
    if not folder.exists():
        semshard.export(shards, folder, to="parquet")
    litdata.index_parquet_dataset(str(folder))  # writes index.json into the folder
    dataset = litdata.StreamingDataset(str(folder), item_loader=ParquetLoader(), shuffle=True)
    show(litdata.StreamingDataLoader(dataset, batch_size=8, collate_fn=batch), len(manifest(shards)["classes"]))


if __name__ == "__main__":
    main(sys.argv[1])
