"""Real photographs: those of `wild` without labels, of many sizes, some turned by EXIF or grey; and ten classes."""

import os

import numpy as np
import pytest
from PIL import Image, ImageOps

import semshard
from semshard.shards import Ledger, ledger_path, open_shards
from tests.support.runs import TINY, real

SMALL = TINY | {"crop": 32, "shard_size": 30}


def upright(path):
    """What a viewer shows of a file, by Pillow alone; None for colours that are not plain sRGB."""
    with Image.open(path) as image:
        if image.info.get("icc_profile") or image.mode not in ("RGB", "L"):
            return None
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("wild", 60), ("imagenette224/val", 60)])
def test_photographs_are_published_at_their_own_size_upright_and_within_the_budget(tmp_path, name, most):
    images, options = real(name), None
    given = dict(SMALL)
    if name == "wild":
        options = semshard.SourceOptions(labels="auto")
        given["groups"] = 3
    else:
        for folder in sorted(images.iterdir()):
            (tmp_path / "images" / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[: most // 10]:
                os.link(path, tmp_path / "images" / folder.name / path.name)
        images = tmp_path / "images"
    result = semshard.protect(images, tmp_path / "out", options=options, **given)
    assert result.rejected == 0
    assert semshard.audit(tmp_path / "out").ok
    shards = open_shards(tmp_path / "out")
    names = {row.key: row.source for row in Ledger(ledger_path(tmp_path / "out")).samples(len(shards.tars))}
    compared = 0
    for sample in shards:
        clean = upright(images / names[sample.key])
        if clean is not None:
            compared += 1
            assert sample.image.shape == clean.shape
            assert 0 < np.abs(sample.image.astype(int) - clean).max() <= 8
            changed = (sample.image != clean).any(2)
            quarters = [part.mean() for half in np.array_split(changed, 2) for part in np.array_split(half, 2, axis=1)]
            assert min(quarters) > 0.5, "no part of a photograph is left as it was"
    assert compared > 0.7 * result.samples
    assert (shards.manifest["labels"]["from"] == "groups") == (name == "wild")
