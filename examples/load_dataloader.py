"""Feed shards to a training with a plain torch DataLoader: any sample by number, shuffled, several workers.

python examples/load_dataloader.py shards
"""

import sys

import torch
from first_batch import show
from torch.utils.data import DataLoader, Dataset

import semshard


class Protected(Dataset):
    """The samples of finished shards: float (3, H, W) in [0, 1], and the label."""

    def __init__(self, shards: str) -> None:
        self.shards = semshard.open_shards(shards)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        sample = self.shards[number]
        return torch.from_numpy(sample.image).permute(2, 0, 1) / 255, sample.label


def main(shards: str) -> None:
    dataset = Protected(shards)
    show(DataLoader(dataset, 16, shuffle=True, num_workers=2), len(dataset.shards.classes))


if __name__ == "__main__":
    main(sys.argv[1])
