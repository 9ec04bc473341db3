"""Photographs at their own resolution: budgets, methods and file formats, and audits of those who cheat."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from semshard.shards import open_shards
from tests.support.corpus import oriented, saved
from tests.support.photo_runs import (
    changed,
    copied,
    flat,
    manifest,
    passes,
    pixels,
    problems,
    protect,
    settle,
    sources_of,
    write_photos,
)
from tests.support.tars import rewrite


@pytest.fixture(scope="module")
def natural(tmp_path_factory):
    home = tmp_path_factory.mktemp("natural")
    written = write_photos(home / "images")
    sideways = oriented(6, size=(110, 72))
    (home / "images" / "a" / "on its side.jpg").write_bytes(sideways)
    written["a/on its side.jpg"] = np.asarray(Image.open(io.BytesIO(sideways)).transpose(Image.Transpose.ROTATE_270))
    return home, written


@pytest.fixture(scope="module")
def outputs(natural):
    """settings → finished output of the photographs, each made once."""
    made = {}

    def output(**settings):
        key = tuple(settings.items())
        if key not in made:
            made[key] = natural[0] / f"out{len(made)}"
            protect(natural[0] / "images", made[key], **settings)
        return made[key]

    return output


def differences(out, written, extension="png"):
    """Largest change of each image, by key; sizes are equal."""
    changes, named = {}, sources_of(out)
    for key, parts in flat(out).items():
        clean, protected = written[named[key]], pixels(parts[extension])
        assert protected.shape == clean.shape, named[key]
        changes[key] = int(np.abs(protected.astype(int) - clean).max())
    assert len(changes) == len(written)
    return changes


def test_every_photograph_keeps_its_size_upright_and_its_budget(natural, outputs):
    out = outputs()
    changes = differences(out, natural[1])
    assert set(changes.values()) == {8}
    assert manifest(out)["image"] == {"sizes": "own", "channels": "RGB", "bits": 8}
    for sample in open_shards(out):
        assert sample.image.shape == (sample.about["height"], sample.about["width"], 3)
        assert sample.about["linf"] == changes[sample.key]
    passes(out, 9)


@pytest.mark.parametrize("rho_u", ["1/255", "3/255"])
def test_other_budgets_hold_on_photographs(natural, outputs, rho_u):
    out = outputs(rho_u=rho_u)
    assert max(differences(out, natural[1]).values()) == int(rho_u[0])
    passes(out, 9)


@pytest.mark.parametrize("method", ["sc", "tap", "push", "em", "em-aligned"])
def test_other_methods_protect_photographs(natural, outputs, method):
    out = outputs(method=method)
    assert 0 < max(differences(out, natural[1]).values()) <= 8
    passes(out, 9)


def test_a_resolution_makes_them_square(outputs):
    out = outputs(resolution=40)
    assert {pixels(parts["png"]).shape for parts in flat(out).values()} == {(40, 40, 3)}
    passes(out, 9)


def test_webp_is_lossless(natural, outputs):
    out = outputs(format="webp")
    assert set(differences(out, natural[1], "webp").values()) == {8}
    lossless = {key: pixels(parts["webp"]) for key, parts in flat(out).items()}
    for key, parts in flat(outputs()).items():
        assert np.array_equal(pixels(parts["png"]), lossless[key])
    passes(out, 9)


@pytest.mark.parametrize("safe", [False, True])
def test_jpeg_states_the_true_difference_of_every_image(natural, outputs, safe):
    out = outputs(format="jpeg", quality=90, jpeg_safe=safe)
    changes = differences(out, natural[1], "jpg")
    stated = {key: json.loads(parts["json"])["linf"] for key, parts in flat(out).items()}
    assert stated == changes
    assert manifest(out)["noise"]["linf_max"] == max(stated.values()) > 8
    passes(out, 9)


def test_jpeg_safe_noise_can_be_published_as_png(natural, outputs):
    out = outputs(jpeg_safe=True)
    assert max(differences(out, natural[1]).values()) <= 8
    assert manifest(out)["settings"]["jpeg_safe"] is True
    assert flat(out).keys() == flat(outputs()).keys()
    assert flat(out) != flat(outputs())
    passes(out, 9)


def test_an_audit_of_jpegs_finds_a_sample_that_lies(outputs, tmp_path):
    out = copied(outputs(format="jpeg", quality=90, jpeg_safe=False), tmp_path)
    rewrite(out / "00000.tar", changed(lambda data: json.dumps(json.loads(data) | {"linf": 1}).encode(), "json"))
    settle(out)
    assert "the parquet row differs from" in problems(out)
    rows = pq.read_table(out / "00000.parquet").to_pylist()
    rows[0]["linf"] = 1
    pq.write_table(pq.read_table(out / "00000.parquet").from_pylist(rows, pq.read_schema(out / "00000.parquet")),
                   out / "00000.parquet")  # fmt: skip
    settle(out)
    assert ".json says 1/255" in problems(out)


def test_an_audit_of_jpegs_finds_a_replaced_image(outputs, tmp_path):
    out = copied(outputs(format="jpeg", quality=90, jpeg_safe=False), tmp_path)
    other = lambda data: saved(pixels(data), "JPEG", quality=90, subsampling=0)  # noqa: E731
    rewrite(out / "00000.tar", changed(other))
    settle(out)
    assert "the pixels have another SHA-256" in problems(out)


@pytest.mark.parametrize("settings", [{}, {"format": "jpeg", "quality": 90, "jpeg_safe": False}])
def test_an_audit_finds_a_manifest_that_lies_about_the_largest_difference(outputs, tmp_path, settings):
    out = copied(outputs(**settings), tmp_path)
    about = manifest(out)
    true = about["noise"]["linf_max"]
    about["noise"]["linf_max"] = 1
    (out / "manifest.json").write_text(json.dumps(about))
    assert f"noise.linf_max is 1, it should be {true}" in problems(out)
    for shard in about["shards"]:
        shard["linf_max"] = 1
    (out / "manifest.json").write_text(json.dumps(about))
    settle(out)
    assert "the manifest says 1" in problems(out)


def test_an_audit_of_webp_finds_a_replaced_image(outputs, tmp_path):
    out = copied(outputs(format="webp"), tmp_path)
    rewrite(out / "00000.tar", changed(lambda data: saved(pixels(data), "WEBP", quality=80), "webp"))
    settle(out)
    assert "lossy" in problems(out)
