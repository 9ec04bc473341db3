"""Load shards with timm: its reader of WebDataset tars on the shards, or its reader of folders on an export.

python examples/load_timm.py shards             # the tars
python examples/load_timm.py shards-folder      # what `semshard export shards --to folder` wrote
"""

import sys
from pathlib import Path

from first_batch import manifest, show
from timm.data import create_dataset, create_loader


def main(data: str) -> None:
    if (Path(data) / "manifest.json").exists():
        about = manifest(data)
        names = sorted(path.stem for path in Path(data).glob("*.tar"))
        tars = f"{{{names[0]}..{names[-1]}}}.tar|{about['counts']['samples']}"
        dataset = create_dataset("wds/", root=data, split=tars, is_training=False)
        (height, width), classes = sizes(about), len(about["classes"])
    else:
        dataset = create_dataset("", root=data)
        (height, width), classes = dataset[0][0].size[::-1], len(dataset.reader.class_to_idx)
    loader = create_loader(  # is_training=True would also shuffle and augment, and round to whole batches
        dataset, (3, height, width), 8, is_training=False, crop_pct=1, mean=(0, 0, 0), std=(1, 1, 1),
        use_prefetcher=False, num_workers=2, persistent_workers=False,
    )  # fmt: skip
    show(loader, classes)


def sizes(about: dict) -> tuple[int, int]:
    """(height, width) to which the loader brings the images: their own, or 224 × 224 for photographs."""
    return about["image"].get("height", 224), about["image"].get("width", 224)


if __name__ == "__main__":
    main(sys.argv[1])
