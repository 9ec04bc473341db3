"""Protecting a folder: the invariants of what comes out, and what happens when the run is not the first."""

import dataclasses
import hashlib
import json
import os
import re
import tarfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

import semshard
from semshard.engine import Runtime
from semshard.protection.training_images import OnDevice, tensors, training_images
from semshard.settings import protect_config
from semshard.sources import open_source, scan
from semshard.sources.collection import Cache
from semshard.sources.shapes import draw_shape
from tests.support.protection import protect, protect_from_disk
from tests.support.runs import TINY, public_bytes


def ledger_rows(home):
    from semshard.shards import Ledger, ledger_path

    ledger = Ledger(ledger_path(home / "shards"))
    shards = len(list((home / "shards").glob("*.tar")))
    return list(ledger.inputs()), [row for shard in range(shards) for row in ledger.shard(shard)]


def originals(home):
    """key → clean pixels, read by Pillow."""
    return {row.key: np.asarray(Image.open(home / "images" / row.source)) for row in ledger_rows(home)[1] if row.key}


def published(home):
    """key → protected pixels, read by tarfile and Pillow."""
    found = {}
    for path in sorted((home / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            for entry in tar:
                if entry.name.endswith(".png"):
                    found[entry.name[:10]] = np.asarray(Image.open(tar.extractfile(entry)))
    return found


@pytest.mark.parametrize(("rho_u", "levels"), [("8/255", 8), ("3/255", 3), ("0.031", 7)])
def test_the_budget_holds_on_decoded_pixels(tmp_path, images, rho_u, levels):
    result = protect(tmp_path, rho_u=rho_u)
    clean, found = originals(tmp_path), published(tmp_path)
    assert clean.keys() == found.keys()
    distances = [int(np.abs(found[key].astype(int) - clean[key]).max()) for key in clean]
    assert max(distances) == result.linf_max == levels
    assert min(distances) > 0


def test_every_input_is_protected_or_rejected_once(tmp_path, images):
    (images / "disc" / "broken.png").write_bytes(b"no image")
    (images / "stray.txt").write_text("?")
    result = protect(tmp_path, max_rejects=0.1)
    assert (result.samples, result.rejected) == (40, 2)
    inputs, rows = ledger_rows(tmp_path)
    assert sorted([row.number for row in inputs if row.reason] + [row.number for row in rows]) == list(range(42))
    rejects = [json.loads(line) for line in (tmp_path / "shards.ledger/rejects.jsonl").read_text().splitlines()]
    assert {row["source"]: row["reason"] for row in rejects} == {
        "disc/broken.png": "not an image",
        "stray.txt": "not in a class folder",
    }
    manifest = json.loads((tmp_path / "shards/manifest.json").read_text())
    assert manifest["counts"] == {"inputs": 42, "duplicates": 0, "samples": 40, "rejected": 2, "shards": 3}
    assert semshard.audit(tmp_path / "shards").ok


def test_too_many_rejects_stop_the_run_before_the_work_and_say_where_to_look(tmp_path, images):
    (images / "disc" / "broken.png").write_bytes(b"no image")
    with pytest.raises(semshard.TooManyRejects, match=r"1 of 41 .* 1.00% .*rejects.jsonl"):
        protect(tmp_path)
    assert "disc/broken.png" in (tmp_path / "shards.ledger/rejects.jsonl").read_text()
    (images / "disc" / "broken.png").unlink()
    assert protect(tmp_path).samples == 40


def test_too_many_inputs_that_changed_since_the_scan_stop_the_run_with_the_name_of_one(tmp_path, images):
    given = {"method": "sc", "max_rejects": 0.5}
    semshard.protect(images, tmp_path / "shards", until="surrogate", **given)
    for path in sorted(images.rglob("*.png"))[:30]:
        path.write_bytes(path.read_bytes() + b"?")
    words = r"30 of 40 .* 50.00% .* while shards were made: .*\d.png \(changed since it was scanned\) and 29 more"
    with pytest.raises(semshard.TooManyRejects, match=words):
        semshard.protect(images, tmp_path / "shards", **given)


def test_an_input_that_vanishes_during_the_run_is_a_late_reject(tmp_path, images):
    victim = images / "ring" / "0000005.png"

    def vanish(event):
        if event.phase == "craft" and victim.exists():
            victim.unlink()

    result = protect_from_disk(images, tmp_path / "shards", vanish, shard_size=8)
    assert (result.samples, result.rejected) in ((39, 1), (40, 0))  # it may have been in the first batch
    assert semshard.audit(tmp_path / "shards", clean=None).failures == [] or result.rejected == 0
    if result.rejected:
        assert "vanished" in (tmp_path / "shards.ledger/rejects.jsonl").read_text()


def test_the_same_settings_give_the_same_bytes_and_another_seed_does_not(tmp_path, finished):
    home = finished
    semshard.protect(home / "images", home / "again", **TINY)
    assert public_bytes(home / "again") == public_bytes(home / "shards")
    semshard.protect(home / "images", home / "other", **(TINY | {"seed": 8}))
    assert public_bytes(home / "other")["00000.tar"] != public_bytes(home / "shards")["00000.tar"]


def test_a_shard_does_not_depend_on_the_others(finished):
    before = public_bytes(finished / "shards")
    for name in ("00001.tar", "00001_stats.json", "manifest.json", "00002.parquet"):
        (finished / "shards" / name).unlink()
    assert protect(finished).made == 2
    assert public_bytes(finished / "shards") == before


def test_memory_or_disk_makes_no_difference_to_the_bytes(finished):
    protect_from_disk(finished / "images", finished / "again")
    assert public_bytes(finished / "again") == public_bytes(finished / "shards")


def test_a_finished_output_is_left_alone(finished):
    before = {path: path.stat().st_mtime_ns for path in (finished / "shards").iterdir()}
    result = protect(finished)
    assert result.made == 0
    assert result.samples == 40
    assert {path: path.stat().st_mtime_ns for path in (finished / "shards").iterdir()} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [({"steps": 4}, "steps was 3, is 4"), ({"rho_u": "4/255"}, "rho_u was 8/255, is 4/255"), ({"seed": 1}, "seed was")],
)
def test_other_settings_are_refused_by_name_unless_overwritten(finished, options, words):
    before = public_bytes(finished / "shards")
    with pytest.raises(semshard.OutputError, match=words):
        protect(finished, **options)
    assert public_bytes(finished / "shards") == before
    assert protect(finished, overwrite=True, **options).made == 3
    assert semshard.audit(finished / "shards").ok


def test_overwriting_with_the_same_settings_has_nothing_to_do(finished):
    assert protect(finished, overwrite=True).made == 0


def repaint(path):
    """Replace a picture by another one of the same name."""
    Image.fromarray(255 - np.asarray(Image.open(path).convert("RGB"))).save(path)


def test_overwriting_makes_shards_of_files_whose_contents_are_others_now(finished):
    before = public_bytes(finished / "shards")
    repaint(next((finished / "images").rglob("*.png")))
    assert protect(finished).made == 0, "the contents of files are not looked at"
    assert public_bytes(finished / "shards") == before
    assert protect(finished, overwrite=True).made == 3
    assert semshard.audit(finished / "shards").ok
    assert protect(finished, overwrite=True).made == 0


def test_a_begun_run_whose_files_were_replaced_says_so_and_can_be_overwritten(tmp_path, images):
    out, given = tmp_path / "shards", {"method": "sc"}
    semshard.protect(images, out, until="surrogate", **given)
    for path in images.rglob("*.png"):
        repaint(path)
    with pytest.raises(semshard.TooManyRejects, match=r"changed since it was scanned.*bring them back.*--overwrite"):
        semshard.protect(images, out, **given)
    assert semshard.protect(images, out, overwrite=True, **given).samples == 40
    assert semshard.audit(out).ok


def test_overwriting_does_not_look_at_what_was_removed(finished):
    shards, paths = finished / "shards", sorted((finished / "images").rglob("*.png"))
    gone = finished / "gone.txt"
    gone.write_text("\n".join(str(path.relative_to(finished / "images")) for path in paths[:2]))
    semshard.remove(shards, source=gone)
    repaint(paths[0])
    paths[1].unlink()
    result = protect(finished, overwrite=True)
    assert (result.made, result.samples) == (0, 38)


def test_impossible_settings_are_found_before_the_scan_and_leave_nothing_behind(tmp_path, images):
    with pytest.raises(semshard.SettingError, match="steps = 0"):
        protect(tmp_path, steps=0, progress=lambda event: pytest.fail("scanned") if event.phase == "scan" else None)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_another_source_is_refused(finished):
    (finished / "images" / "disc" / "new.png").write_bytes((finished / "images" / "disc" / "0000000.png").read_bytes())
    with pytest.raises(semshard.OutputError, match="the source had 40 files, has 41"):
        protect(finished)


def test_a_source_at_a_path_that_is_no_utf_8_is_protected_and_found_again(tmp_path, images):
    home = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    home.mkdir()
    images.rename(home / "images")
    table = home / "labels.csv"
    names = [f"{path.parent.name}/{path.name}" for path in home.rglob("*.png")]
    table.write_text("path,label\n" + "".join(f"{name},{name[:3]}\n" for name in names))
    out, given = tmp_path / "out", {"method": "sc", "options": semshard.SourceOptions(labels=str(table))}
    assert semshard.protect(home / "images", out, **given).made == 1
    assert semshard.protect(home / "images", out, **given).made == 0
    (out / "00000.tar").unlink()
    assert semshard.repair(out).remade == 1
    assert semshard.audit(out).compared == 40


def test_an_output_that_can_have_no_ledger_is_refused_before_anything_is_written(tmp_path, images):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    for out, words in ((Path("/"), "choose a folder in it"), (odd / "shards", "not valid UTF-8")):
        for call in (lambda out=out: semshard.protect(images, out, method="sc"), lambda out=out: semshard.status(out)):
            with pytest.raises(semshard.OutputError, match=words):
                call()
    assert not odd.exists()


def test_a_folder_of_somebody_else_is_never_touched(finished):
    (finished / "shards" / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        if overwrite:
            with pytest.raises(semshard.OutputError, match=r"notes\.txt"):
                protect(finished, steps=4, overwrite=True)
    assert (finished / "shards" / "notes.txt").read_text() == "mine"
    assert (finished / "shards" / "00000.tar").exists()


def test_shards_without_their_ledger_are_not_gone_on_with(finished):
    (finished / "shards.ledger" / "run.json").unlink()
    with pytest.raises(semshard.OutputError, match=r"ledger .* is gone"):
        protect(finished)


def test_the_output_may_not_lie_in_the_source_nor_around_it(tmp_path, images):
    with pytest.raises(semshard.OutputError, match="inside the source"):
        semshard.protect(images, images / "shards", **TINY)
    with pytest.raises(semshard.OutputError, match="contains the source"):
        semshard.protect(images, tmp_path, **TINY)


def test_two_processes_cannot_write_the_same_output(finished):
    from semshard.shards import Ledger, ledger_path

    with (
        Ledger(ledger_path(finished / "shards")).locked(),
        pytest.raises(semshard.OutputError, match="another process"),
    ):
        protect(finished)


def test_the_public_folder_tells_nothing_private(tmp_path):
    """Source names, EXIF, GPS, paths, the seed, clean pixels: none of it, anywhere, in any file."""
    secret = "whereabouts-7731"
    for number in range(20):
        about = PngImagePlugin.PngInfo()
        about.add_text("Comment", secret)
        image = Image.fromarray(draw_shape(number))
        exif = image.getexif()
        exif[0x010E] = secret
        exif.get_ifd(0x8825)[1] = secret
        folder = tmp_path / "images" / ("a", "b")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{secret}-{number}.png", pnginfo=about, exif=exif)
    protect(tmp_path, shard_size=8)
    clean = originals(tmp_path)
    found = published(tmp_path)
    forbidden = [secret, str(tmp_path), str(Path.home()), str(TINY["seed"]), "safetensors"]
    forbidden += [name for name in (os.uname().nodename,) if len(name) > 5]  # a short one occurs by chance
    forbidden += [
        hashlib.sha256((tmp_path / "images" / row.source).read_bytes()).hexdigest() for row in ledger_rows(tmp_path)[0]
    ]
    for name, data in public_bytes(tmp_path / "shards").items():
        for word in forbidden:
            assert word.encode() not in data, f"{word} in {name}"
        assert re.fullmatch(r"\d{5}(\.tar|\.parquet|_stats\.json)|(manifest|croissant)\.json|README\.md", name)
    for key, pixels in clean.items():
        assert not any(np.array_equal(pixels, other) for other in found.values()), key


def test_the_ledger_is_private_and_complete(finished):
    ledger = finished / "shards.ledger"
    assert ledger.stat().st_mode & 0o777 == 0o700
    run = json.loads((ledger / "run.json").read_text())
    assert run["settings"]["seed"] == TINY["seed"]
    assert run["source"] == str(finished / "images")
    for row in ledger_rows(finished)[1]:
        assert row.sha256 == hashlib.sha256((finished / "images" / row.source).read_bytes()).hexdigest()


def test_the_manifest_fits_its_published_schema(finished):
    schema = json.loads((Path(semshard.__file__).parent / "shards" / "manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    manifest = json.loads((finished / "shards" / "manifest.json").read_text())
    jsonschema.validate(manifest, schema)
    assert set(schema["properties"]["settings"]["properties"]) == {*manifest["settings"], "patch", "quality"}, (
        "for sc, and for JPEG"
    )


@pytest.mark.slow
def test_hardened_noise_is_named_in_the_manifest_audited_and_made_again_byte_for_byte(tmp_path, images):
    made = [tmp_path / name for name in ("one", "again", "listed")]
    lists = ["hardened", "hardened", "crop-flip,grey=0.3,jpeg=0.2,blur=0.1,resize=0.1,bits=0.1,jitter=0.2,cutout=0.1"]
    for out, views in zip(made, lists, strict=True):
        semshard.protect(images, out, views=views, push_steps=2, **TINY)
        assert semshard.audit(out).ok
        assert json.loads((out / "manifest.json").read_text())["settings"]["views"][0] == "crop-flip"
    assert public_bytes(made[0]) == public_bytes(made[1]) != public_bytes(made[2])
    settings = json.loads((made[0] / "manifest.json").read_text())["settings"]
    assert settings["label_noise"] > 0
    surrogate = f"{made[0]}.ledger/surrogate.safetensors"
    semshard.protect(images, tmp_path / "given", surrogate=surrogate, **TINY)
    assert json.loads((tmp_path / "given" / "manifest.json").read_text())["settings"] == settings
    with pytest.raises(semshard.SettingError, match="was trained with label_noise"):
        semshard.protect(images, tmp_path / "other", surrogate=surrogate, label_noise=0.0, **TINY)


def test_a_resolution_brings_mixed_sizes_to_one(tmp_path, images):
    Image.new("RGB", (48, 40), "red").save(images / "disc" / "wide.png")
    assert protect(tmp_path, resolution=24).samples == 41
    assert all(pixels.shape == (24, 24, 3) for pixels in published(tmp_path).values())
    assert semshard.audit(tmp_path / "shards").compared == 41


def test_images_need_not_be_square_nor_small(tmp_path):
    for number in range(12):
        folder = tmp_path / "images" / ("a", "b")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (90, 70, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    protect(tmp_path, crop=32)
    assert all(pixels.shape == (90, 70, 3) for pixels in published(tmp_path).values())
    assert semshard.audit(tmp_path / "shards").linf_max == 8


def test_a_dry_run_writes_nothing_and_estimates(tmp_path, images):
    plan = semshard.plan(images, tmp_path / "shards", **TINY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]
    assert (plan.inputs, plan.images, plan.shards, plan.width, plan.height) == (40, 40, 3, 32, 32)
    assert all(seconds >= 0 for seconds in plan.seconds.values())
    real = sum(path.stat().st_size for path in semshard.open_shards(_after(tmp_path, images)).tars)
    assert 0.5 < plan.bytes / real < 2


def _after(tmp_path, images):
    semshard.protect(images, tmp_path / "shards", **TINY)
    return tmp_path / "shards"


@pytest.mark.slow
def test_the_number_of_threads_changes_no_byte(images, tmp_path, monkeypatch):
    made = []
    for workers in (1, 3, 16):
        monkeypatch.setattr("os.sched_getaffinity", lambda process, n=workers: set(range(n)))
        semshard.protect(images, tmp_path / f"out{workers}", **TINY)
        made.append(public_bytes(tmp_path / f"out{workers}"))
    assert made[0] == made[1] == made[2]


def test_training_images_on_the_device_are_those_of_the_loader(images):
    collection = scan(open_source(images))
    assert collection.in_memory
    config = protect_config("quick", (32, 32), "float32", {})
    loader = training_images(Runtime(torch.device("cpu"), "float32"), collection, config)
    device = OnDevice(*tensors(collection, collection.usable)[:2], None)
    numbers = torch.tensor([7, 3, 3, 39])
    assert len(loader) == len(device) == 40
    for one, other in zip(loader.batch(numbers)[:2], device.batch(numbers)[:2], strict=True):
        assert torch.equal(one, other)
    collection.cache = Cache(0)
    assert not collection.in_memory
    assert torch.equal(loader.batch(numbers)[0], device.batch(numbers)[0])


def test_a_pool_is_a_seeded_part_of_the_images_whose_labels_change_places_once(images):
    collection = scan(open_source(images))
    runtime = Runtime(torch.device("cpu"), "float32")
    config = protect_config("quick", (32, 32), "float32", {"pool": 12, "label_noise": 1.0})

    def pool(**given):
        return training_images(runtime, collection, dataclasses.replace(config, **given))

    every, numbers = tensors(collection, collection.usable), torch.arange(12)
    place = {image.numpy().tobytes(): label for image, label in zip(every[0], every[1].tolist(), strict=True)}
    drawn, again, other = pool(), pool(), pool(seed=1)
    assert len(drawn) == 12
    true = torch.tensor([place[image.numpy().tobytes()] for image in drawn.batch(numbers)[0]])
    labels = drawn.batch(numbers)[1]
    assert torch.equal(labels.sort().values, true.sort().values)
    assert not torch.equal(labels, true)
    assert torch.equal(labels, drawn.batch(numbers)[1])
    assert torch.equal(pool(label_noise=0.0).batch(numbers)[1], true)
    assert torch.equal(drawn.batch(numbers)[0], again.batch(numbers)[0])
    assert not torch.equal(drawn.batch(numbers)[0], other.batch(numbers)[0])
    assert len(pool(pool=1000)) == len(collection.usable)
