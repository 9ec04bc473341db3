"""Feed shards to a training with a plain torch DataLoader: any sample by number, shuffled, several workers.

python examples/read_with_dataloader.py shards
"""

import sys

import torch
from torch.utils.data import DataLoader, Dataset

import semshard


class Protected(Dataset):
    def __init__(self, shards: str) -> None:
        self.shards = semshard.open_shards(shards)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        sample = self.shards[number]
        return torch.from_numpy(sample.image).permute(2, 0, 1) / 255, sample.label


def main(shards: str, workers: int = 2, batch: int = 16) -> None:
    count = 0
    for images, labels in DataLoader(Protected(shards), batch, shuffle=True, num_workers=workers):
        if count == 0:
            print(tuple(images.shape), images.dtype, labels[:8].tolist())
        count += len(labels)
    print(f"{count} images")


if __name__ == "__main__":
    main(sys.argv[1])
