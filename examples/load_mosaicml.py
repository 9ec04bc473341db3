"""Export shards to MDS, and load them with MosaicML Streaming: shuffled, several workers, resumable.

python examples/load_mosaicml.py shards
"""

import sys
from pathlib import Path

import torch
from first_batch import manifest, show
from PIL import Image
from streaming import StreamingDataLoader, StreamingDataset
from torchvision.transforms.v2.functional import pil_to_tensor

import semshard


def batch(samples: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures as float (N, 3, H, W) in [0, 1], and labels."""
    pictures = [pil_to_tensor(picture(sample["image"]).convert("RGB")) for sample in samples]
    return torch.stack(pictures) / 255, torch.tensor([sample["label"] for sample in samples])


def picture(stored) -> Image.Image:
    """MDS has no encoding for WebP: then the column holds the bytes of the file."""
    if isinstance(stored, bytes):
        from io import BytesIO

        return Image.open(BytesIO(stored))
    return stored


def main(shards: str) -> None:
    folder = Path(f"{Path(shards)}-mds")
    if not folder.exists():
        semshard.export(shards, folder, to="mds")
    dataset = StreamingDataset(local=str(folder), shuffle=True, batch_size=8, validate_hash="sha256")
    loader = StreamingDataLoader(dataset, batch_size=8, num_workers=2, collate_fn=batch)
    print("resumable:", sorted(loader.state_dict() or {}))
    show(loader, len(manifest(shards)["classes"]))


if __name__ == "__main__":
    main(sys.argv[1])
