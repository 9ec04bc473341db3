"""More images for a finished output: new ones of its classes, and rejects that were fixed, in shards of their own."""

import json
import shutil
import tarfile

import pytest
from PIL import Image

import semshard
from semshard.shards import Ledger, ledger_path
from semshard.sources.shapes import draw_shape, write_shapes
from tests.support.photo_runs import add
from tests.support.protection import protect, with_two_late_rejects
from tests.support.runs import TINY, of_shards, public_bytes


def draw(folder, *names):
    """A drawn picture under each name, that no other has."""
    for number, name in enumerate(names):
        Image.fromarray(draw_shape(7000 + 10 * number)).save(folder / name)


def manifest(home):
    return json.loads((home / "shards" / "manifest.json").read_text())


def unchanged(before, after):
    """Whether every file of a shard that was there has the bytes that it had."""
    return of_shards(before).items() <= of_shards(after).items()


def rejects(home):
    lines = (home / "shards.ledger" / "rejects.jsonl").read_text().splitlines()
    return {row["source"]: row["reason"] for row in map(json.loads, lines)}


def test_new_images_get_shards_of_their_own_and_the_others_keep_every_byte(finished):
    before = public_bytes(finished / "shards")
    draw(finished / "images" / "disc", "000.png", "new.png")
    draw(finished / "images" / "ring", *(f"z{n}.png" for n in range(16)))
    (finished / "images" / "ring" / "broken.png").write_bytes(b"no image")
    with pytest.raises(semshard.OutputError, match=r"had 40 files, has 59.*--extend adds new images"):
        protect(finished)
    shutil.copytree(finished, finished.parent / "twin", symlinks=True)
    result = protect(finished, extend=True, max_rejects=0.1)
    assert (result.samples, result.rejected, result.shards, result.made) == (58, 1, 5, 2)
    after = public_bytes(finished / "shards")
    assert unchanged(before, after)
    (entry,) = manifest(finished)["history"]
    assert (entry["action"], entry["inputs"], entry["shards"]) == ("extend", 19, ["00003.tar", "00004.tar"])
    assert manifest(finished)["counts"]["inputs"] == 59
    assert rejects(finished) == {"ring/broken.png": "not an image"}
    assert semshard.audit(finished / "shards").ok
    assert semshard.audit(finished / "shards").compared == 58
    assert protect(finished, extend=True, max_rejects=0.1).made == protect(finished).made == 0
    assert public_bytes(finished / "shards") == after
    for name in ("00000.tar", "00004.tar"):
        (finished / "shards" / name).unlink()
    assert semshard.repair(finished / "shards").remade == 2
    assert public_bytes(finished / "shards") == after
    (finished / "shards.ledger").rename(finished / "away")
    assert semshard.audit(finished / "shards").ok


def test_fixed_rejects_are_added_and_the_others_stay(tmp_path, images):
    for name in ("a.png", "b.png"):
        (images / "disc" / name).write_bytes(b"no image")
    protect(tmp_path, max_rejects=0.1)
    before = public_bytes(tmp_path / "shards")
    assert protect(tmp_path, retry_rejects=True, max_rejects=0.1).made == 0
    assert public_bytes(tmp_path / "shards") == before
    draw(images / "disc", "b.png")
    result = protect(tmp_path, retry_rejects=True, max_rejects=0.1)
    assert (result.samples, result.rejected, result.shards, result.made) == (41, 1, 4, 1)
    assert unchanged(before, public_bytes(tmp_path / "shards"))
    assert rejects(tmp_path) == {"disc/a.png": "not an image"}
    (entry,) = manifest(tmp_path)["history"]
    assert (entry["action"], entry["inputs"], entry["shards"]) == ("retry-rejects", 1, ["00003.tar"])
    assert semshard.audit(tmp_path / "shards").ok
    draw(images / "ring", "new.png")
    draw(images / "disc", "a.png")
    result = protect(tmp_path, retry_rejects=True, extend=True)
    assert (result.samples, result.rejected, result.shards) == (43, 0, 6)
    assert [entry["action"] for entry in manifest(tmp_path)["history"]] == ["retry-rejects", "retry-rejects", "extend"]
    assert semshard.audit(tmp_path / "shards").ok


def test_a_duplicate_stays_rejected_as_long_as_its_file_is_the_same(tmp_path, images):
    first, twin = images / "disc" / "0000000.png", images / "disc" / "twin.png"
    Image.open(first).save(twin, compress_level=0)
    assert twin.read_bytes() != first.read_bytes()
    options = {"method": "sc", "duplicates": "reject", "max_rejects": 0.1}
    assert protect(tmp_path, **options).samples == 40
    reasons = rejects(tmp_path)
    assert reasons == {"disc/twin.png": "has the pixels of disc/0000000.png"}
    found = protect(tmp_path, **options, retry_rejects=True)
    assert (found.samples, found.made) == (40, 0)
    semshard.remove(tmp_path / "shards", source=["disc/0000000.png"])
    assert protect(tmp_path, **options, retry_rejects=True).samples == 39
    assert rejects(tmp_path)["disc/twin.png"] == reasons["disc/twin.png"]
    draw(images / "disc", "twin.png")
    found = protect(tmp_path, **options, retry_rejects=True)
    assert (found.samples, found.made) == (40, 1)
    assert semshard.audit(tmp_path / "shards").ok


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: write_shapes(images / "other", 4), r"class other is not in .*: the surrogate knows"),
        (lambda images: (images / "disc" / "0000000.png").unlink(), r"file disc/0000000.png is no longer in"),
        (lambda images: shutil.rmtree(images / "disc"), r"class disc is no longer in"),
        (
            lambda images: draw(images / "disc", "0000000.png"),
            r"file disc/0000000.png is not as protected, but changed",
        ),
    ],
)
def test_new_classes_and_old_files_that_are_not_what_they_were_are_refused(finished, change, words):
    before = public_bytes(finished / "shards")
    draw(finished / "images" / "ring", "new.png")
    change(finished / "images")
    with pytest.raises(semshard.OutputError, match=words):
        protect(finished, extend=True)
    assert public_bytes(finished / "shards") == before


def test_what_is_not_finished_or_not_there_cannot_be_extended(tmp_path, images):
    with pytest.raises(semshard.OutputError, match="holds no run that could be given more images"):
        protect(tmp_path, extend=True)
    with pytest.raises(semshard.SettingError, match="--overwrite makes everything anew"):
        protect(tmp_path, extend=True, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["images"] or not list((tmp_path / "shards").iterdir())


def test_a_new_image_of_another_size_is_a_reject_with_both_sizes(finished):
    draw(finished / "images" / "ring", "new.png")
    Image.new("RGB", (48, 40), "red").save(finished / "images" / "ring" / "wide.png")
    result = protect(finished, extend=True, max_rejects=0.1)
    assert (result.samples, result.rejected) == (41, 1)
    assert rejects(finished) == {"ring/wide.png": "48 × 40 pixels, the other images 32 × 32"}
    assert semshard.audit(finished / "shards").ok


@pytest.mark.slow
def test_a_new_tar_of_a_webdataset_is_a_new_shard(tmp_path):
    semshard.protect("shapes:60", tmp_path / "given", **(TINY | {"shard_size": 20}))
    spec, last = f"wds:{tmp_path}/given/{{00000..00001}}.tar", f"wds:{tmp_path}/given/*.tar"
    settings = TINY | {"max_rejects": 0.1}
    semshard.protect(spec, tmp_path / "shards", **settings)
    before = public_bytes(tmp_path / "shards")
    result = semshard.protect(last, tmp_path / "shards", extend=True, **settings)
    assert (result.samples, result.shards, result.made) == (60, 3, 1)
    after = public_bytes(tmp_path / "shards")
    assert unchanged(before, after)
    for name in ("00001.tar", "00002.tar"):
        (tmp_path / "shards" / name).unlink()
    semshard.repair(tmp_path / "shards")
    assert public_bytes(tmp_path / "shards") == after
    ledger = Ledger(ledger_path(tmp_path / "shards"))
    with tarfile.open(tmp_path / "given" / "00002.tar") as tar:
        keys = list(dict.fromkeys(name.partition(".")[0] for name in tar.getnames()))
    assert [row.source for row in ledger.shard(2)] == [f"00002.tar/{key}" for key in keys]
    assert semshard.audit(tmp_path / "shards", clean=last).ok
    with tarfile.open(tmp_path / "given" / "00003.tar", "w") as tar:
        add(tar, "x.png", b"?")
        add(tar, "x.cls", b"0")
        add(tar, "x.txt", b"more")
    with pytest.raises(semshard.OutputError, match=r"samples now carry the fields txt, before none"):
        semshard.protect(last, tmp_path / "shards", extend=True, **settings)


@pytest.mark.parametrize("options", [{}, {"part": "1/1"}, pytest.param({"workers": 2}, marks=pytest.mark.slow)])
def test_a_shard_that_is_made_again_leaves_out_what_was_retried_or_removed_since(tmp_path, images, options):
    shard, (_, removed) = with_two_late_rejects(tmp_path, images)
    shards, ledger = tmp_path / "shards", tmp_path / "shards.ledger" / f"{shard:05d}.parquet"
    semshard.remove(shards, source=[removed])
    assert protect(tmp_path, method="sc", retry_rejects=True).samples == 39
    after, rows = public_bytes(shards), ledger.read_bytes()
    if "workers" in options:
        options = {"workers": semshard.WorkerOptions(workers=2)}
        (shards / "00000.tar").unlink()
    (shards / f"{shard:05d}.tar").unlink()
    assert protect(tmp_path, method="sc", **options).made >= 1
    protect(tmp_path, method="sc")
    assert (public_bytes(shards), ledger.read_bytes()) == (after, rows)
    assert semshard.audit(shards).ok
    assert rejects(tmp_path).keys() == {removed}
    assert protect(tmp_path, method="sc", retry_rejects=True).made == 0
    (shards / f"{shard:05d}.tar").unlink()
    semshard.repair(shards)
    assert (public_bytes(shards), ledger.read_bytes()) == (after, rows)
