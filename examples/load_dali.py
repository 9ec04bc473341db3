"""Export an index of each tar, and load shards with NVIDIA DALI; here on the CPU, with device="mixed" on a GPU.

python examples/load_dali.py shards
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from first_batch import manifest, show
from nvidia.dali import fn, pipeline_def

import semshard


def main(shards: str, batch: int = 8) -> None:
    about = manifest(shards)
    index = Path(f"{Path(shards)}-dali")
    if not index.exists():
        semshard.export(shards, index, to="dali-index")
    tars = sorted(Path(shards).glob("*.tar"))

    @pipeline_def(batch_size=batch, num_threads=2, device_id=None)
    def pictures():
        files, labels = fn.readers.webdataset(
            paths=[str(path) for path in tars],
            index_paths=[str(index / f"{path.stem}.idx") for path in tars],
            ext=[about["fields"]["image"], "cls"],
            missing_component_behavior="error",
            random_shuffle=True,
            name="shards",
        )
        return fn.transpose(fn.decoders.image(files, device="cpu"), perm=[2, 0, 1]), labels

    pipeline = pictures()
    pipeline.build()
    show(batches(pipeline, pipeline.epoch_size("shards"), batch), len(about["classes"]))


def batches(pipeline, samples: int, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of an epoch; the last may be smaller."""
    for first in range(0, samples, batch):
        images, labels = (each.as_cpu() for each in pipeline.run())
        count = min(batch, samples - first)
        pixels = np.stack([np.asarray(images[place]) for place in range(count)])
        classes = [int(bytes(np.asarray(labels[place]))) for place in range(count)]
        yield torch.from_numpy(pixels) / 255, torch.tensor(classes)


if __name__ == "__main__":
    main(sys.argv[1])
