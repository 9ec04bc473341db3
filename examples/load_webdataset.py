"""Feed shards to a training with webdataset: several workers, shuffled, and resumed in the middle of an epoch.

python examples/load_webdataset.py shards
"""

import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import torch
import webdataset as wds
from first_batch import manifest, show


def loader(shards: str, epoch: int, done: int = 0, workers: int = 2, batch: int = 8) -> Iterable:
    """The batches of an epoch without the first `done`: a checkpoint needs to hold no more than these two numbers.

    The order depends on the epoch and on the number of workers. The batches that are skipped are read again.
    """
    tars = sorted(str(path) for path in Path(shards).glob("*.tar"))
    image = manifest(shards)["fields"]["image"]
    dataset = (
        wds.WebDataset(tars, shardshuffle=len(tars), seed=epoch, empty_check=False)
        .shuffle(1000, seed=epoch)
        .decode("torchrgb")  # float32 (3, H, W) in [0, 1]
        .to_tuple("__key__", image, "cls")
        .batched(batch)
    )
    return islice(wds.WebLoader(dataset, batch_size=None, num_workers=workers), done, None)


def main(shards: str) -> None:
    whole, resumed = ([keys for keys, _, _ in loader(shards, 0, done)] for done in (0, 2))
    print("the rest of the epoch is the same after a restart:", whole[2:] == resumed)
    print("another epoch has another order:", [keys for keys, _, _ in loader(shards, 1)] != whole)
    batches = ((images, torch.as_tensor(labels)) for _, images, labels in loader(shards, 0))
    show(batches, len(manifest(shards)["classes"]))


if __name__ == "__main__":
    main(sys.argv[1])
