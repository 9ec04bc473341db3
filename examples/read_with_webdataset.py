"""Feed shards to a training with webdataset: a WebLoader with several workers.

python examples/read_with_webdataset.py shards
"""

import sys
from pathlib import Path

import webdataset as wds


def main(shards: str, workers: int = 2, batch: int = 16) -> None:
    tars = sorted(str(path) for path in Path(shards).glob("*.tar"))
    dataset = (
        wds.WebDataset(tars, shardshuffle=len(tars), seed=0, empty_check=False)
        .shuffle(1000)
        .decode("torchrgb")  # float32 (3, H, W) in [0, 1]
        .to_tuple("png", "cls")
        .batched(batch)
    )
    count = 0
    for images, labels in wds.WebLoader(dataset, batch_size=None, num_workers=workers):
        if count == 0:
            print(tuple(images.shape), images.dtype, labels[:8])
        count += len(labels)
    print(f"{count} images")


if __name__ == "__main__":
    main(sys.argv[1])
