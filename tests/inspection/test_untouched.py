"""Audit names nothing in folders that nobody touched, of every format."""

import shutil

import numpy as np
import pytest
from PIL import Image

import semshard
from semshard.inspection.repeated_noise import NoiseOfShard, RepeatedNoise, promises_own_noise
from semshard.shards import sample_key
from semshard.sources.shapes import write_shapes
from tests.support.runs import TINY

SMALL = TINY | {"steps": 1, "shard_size": 8}


@pytest.fixture
def photographs(tmp_path):
    """Ten photographs of two classes, of different sizes; two of them are the same."""
    rng = np.random.default_rng(3)
    for number in range(10):
        path = tmp_path / "photographs" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (9, 12, 3), np.uint8)
        Image.fromarray(pixels).resize((90 + 7 * number, 80), Image.Resampling.BICUBIC).save(path)
    shutil.copy(tmp_path / "photographs/a/2.png", tmp_path / "photographs/a/again.png")
    return tmp_path / "photographs"


@pytest.mark.parametrize("format", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("kind", ["small", "photographs"])
def test_nothing_is_named_in_an_untouched_folder(kind, format, photographs, tmp_path):
    if kind == "small":
        write_shapes(tmp_path / "small", 20)
    options = SMALL | {"format": format} | ({"pool": 8, "crop": 32} if kind == "photographs" else {})
    semshard.protect(tmp_path / kind, tmp_path / "shards", **options)
    result = semshard.audit(tmp_path / "shards")
    assert result.failures == []
    assert result.compared == result.checked == (20 if kind == "small" else 11)
    shutil.rmtree(tmp_path / "shards.ledger")
    assert semshard.audit(tmp_path / "shards").failures == []


@pytest.mark.parametrize("method", ["ntga", "sc", "tap"])
def test_copies_that_the_manifest_counts_may_have_the_same_noise(method, images, tmp_path):
    first = sorted(images.glob("*/*"))[0]
    for number in range(3):
        shutil.copy(first, first.with_name(f"copy-{number}.png"))
    semshard.protect(images, tmp_path / "shards", method=method, **SMALL | {"final_steps": 1})
    assert semshard.audit(tmp_path / "shards").failures == []


def test_noise_of_a_class_is_allowed_where_the_method_has_patterns(finished):
    shards = semshard.open_shards(finished / "shards")
    rng = np.random.default_rng(0)
    noise = rng.integers(-8, 9, (32, 32, 3))
    for method, expected in (("sc", False), ("ntga", False), ("sem", True)):
        shards.manifest["settings"]["method"] = method
        assert promises_own_noise(shards) == expected
    found = RepeatedNoise(shards)
    for shard in range(2):
        of_shard = NoiseOfShard()
        for place in range(2):
            clean = rng.integers(0, 256, (32, 32, 3))
            protected = np.clip(clean + noise, 0, 255).astype(np.uint8)
            of_shard.add(sample_key(shard, place), 0, clean.astype(np.uint8), protected)
        found.add(of_shard)
    assert len(list(found.failures())) == 1
