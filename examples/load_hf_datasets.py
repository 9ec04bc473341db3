"""Load a folder of shards with Hugging Face `datasets`: as a whole, with a random order, and streamed.

python examples/load_hf_datasets.py shards
"""

import sys

import datasets
from first_batch import manifest, show
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import pil_to_tensor


def load(shards: str, streaming: bool):
    """The header of the folder's README.md says which files are data, and names the classes."""
    return datasets.load_dataset(shards, split="train", streaming=streaming)


def main(shards: str) -> None:
    about = manifest(shards)
    image = about["fields"]["image"]

    def tensors(samples: dict) -> dict:
        return {
            "images": [pil_to_tensor(picture.convert("RGB")) / 255 for picture in samples[image]],
            "labels": samples["cls"],
        }

    streamed = load(shards, streaming=True)
    first = next(iter(streamed.shuffle(seed=0, buffer_size=100)))
    print("streamed:", first["__key__"], first["json"]["class"], first[image].size)
    loader = DataLoader(load(shards, streaming=False).with_transform(tensors), 16, shuffle=True)
    show(((batch["images"], batch["labels"]) for batch in loader), len(about["classes"]))


if __name__ == "__main__":
    main(sys.argv[1])
