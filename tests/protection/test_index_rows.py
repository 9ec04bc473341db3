"""Any part of a source by the rows that the ledger has of it: what the whole source reads, without listing it again."""

import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

import semshard
from semshard.engine import deterministic, make_runtime
from semshard.errors import RejectedImage
from semshard.protection.batches import ShardWork
from semshard.protection.encoding import Recipe
from semshard.protection.index_rows import source_of, tables_of
from semshard.protection.known_plan import KnownPlan, known_collection, known_part
from semshard.protection.known_shards import record_of
from semshard.protection.known_source import KnownSource
from semshard.protection.noise import Crafting
from semshard.protection.output import Output
from semshard.protection.pipeline import ShardOrder, make_shard
from semshard.protection.protect import surrogate_of
from semshard.protection.publish import Finished
from semshard.protection.request import Request
from semshard.protection.resume import Run
from semshard.shards import Ledger, ledger_path
from semshard.sources import SourceOptions, open_source, scan
from semshard.sources.by_rows import about_source
from semshard.sources.in_order import InOrder
from semshard.sources.shapes import draw_shape
from semshard.workers import WorkerOptions
from tests.support.faces import ACTORS, by_image, faces, write_lists
from tests.support.listed import listed_below
from tests.support.runs import TINY, public_bytes
from tests.support.tars import lay


def folder(home):
    for label in ("a", "b"):
        (home / label).mkdir()
        for name in ("é.png", "back\\slash.png", os.fsdecode(b"\xff\xfe.png")):
            Image.fromarray(draw_shape(len(name))).save(home / label / name)
    (home / "b" / "broken.png").write_bytes(b"no image")
    Image.fromarray(draw_shape(1)).save(home / "nowhere.png")
    return home


def zipped(home):
    (home / "in").mkdir()
    folder(home / "in")
    with zipfile.ZipFile(home / "x.zip", "w") as archive:
        for path in sorted((home / "in").glob("*/*.png")):
            if path.name.isprintable():
                archive.write(path, path.relative_to(home / "in"))
    return f"zip://::{home}/x.zip"


def tars(home):
    def sample(key, label, **fields):
        (home / "x.png").unlink(missing_ok=True)
        Image.fromarray(draw_shape(int(key))).save(home / "x.png")
        picture = [(f"{key}.png", (home / "x.png").read_bytes())] if label is not None else []
        others = [(f"{key}.{extension}", data) for extension, data in fields.items()]
        return [*picture, (f"{key}.cls", str(label).encode()), *others]

    own = json.dumps({"width": 1, "height": 1, "linf": 0, "sha256": "", "class": "a"}).encode()
    first = [*sample("1", 0, txt=b"one", json=b"{}"), *sample("2", 1, json=own), *sample("3", None, txt=b"x")]
    second = [*sample("1", 0), *sample("4", 1, txt=b"")]
    return f"wds:{lay(home, first, second)}"


def people(home):
    actors = faces(ACTORS[:2], 3, 1)
    write_lists(home, actors)
    for face in actors:
        by_image(home, face)
    next(path for path in sorted(home.rglob("*")) if path.suffix in (".jpg", ".jpeg")).write_bytes(b"changed")
    return f"facescrub:{home},lists=actors"


def imagenet(home):
    for wnid in ("n01440764", "n01443537"):
        (home / "train" / wnid).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(draw_shape(number)).save(home / "train" / wnid / f"{number}.JPEG")
    return f"imagenet:{home}"


def shapes(home):
    return "shapes:30"


def content(act):
    """What is read, or the reason why it is not; pixels as bytes."""
    try:
        found = act()
    except RejectedImage as reason:
        return str(reason)
    return found.tobytes() if isinstance(found, np.ndarray) else found


def same(one, other, numbers):
    """Whether a source has the inputs `numbers` of another, in that order."""
    assert len(one) == len(numbers)
    for here, there in enumerate(numbers):
        ours, theirs = one.entry(here), other.entry(there)
        assert (ours.name, ours.label, ours.box) == (theirs.name, theirs.label, theirs.box)
        assert content(lambda here=here: one.read(here)) == content(lambda there=there: other.read(there))
        assert content(lambda here=here: one.carried(here)) == content(lambda there=there: other.carried(there))
    assert (one.spec, one.digest, one.classes, one.fields) == (other.spec, other.digest, other.classes, other.fields)


@pytest.mark.parametrize("kind", [folder, zipped, tars, people, imagenet, shapes])
def test_inputs_are_read_by_their_rows(tmp_path, kind):
    (tmp_path / "source").mkdir()
    (tmp_path / "ledger").mkdir()
    source = open_source(kind(tmp_path / "source"))
    numbers = np.random.default_rng(0).permutation(len(source))[:-1].tolist()
    collection = scan(source, need_one=False)
    ledger = Ledger(tmp_path / "ledger", block=3)
    ledger.index.write(tables_of(collection, [collection.usable]), {"shards": 1}, about_source(source))
    found = source_of(ledger.index.known().source, ledger.index.take(numbers))
    same(found, source, numbers)
    same(pickle.loads(pickle.dumps(found.part([2, 0]))), source, [numbers[2], numbers[0]])
    lengths = {row.number: row.size for row in ledger.inputs()}
    for number in collection.usable.tolist():
        assert lengths[number] == len(content(lambda number=number: source.read(number)))


def test_a_part_of_a_folder_needs_no_other_file_of_it(tmp_path, images):
    source = open_source(images)
    collection = scan(source)
    ledger = Ledger(tmp_path)
    ledger.index.write(tables_of(collection, [collection.usable]), {"shards": 1}, about_source(source))
    kept = {source.entry(number).name for number in (3, 30)}
    expected = [source.read(30), source.read(3)]
    for path in images.rglob("*.png"):
        if str(path.relative_to(images)) not in kept:
            path.unlink()
    found = source_of(ledger.index.known().source, ledger.index.take([30, 3]))
    assert [found.read(0), found.read(1)] == expected


def test_a_part_of_a_tar_does_not_walk_through_it(tmp_path):
    source = open_source(tars(tmp_path))
    collection = scan(source)
    (tmp_path / "ledger").mkdir()
    ledger = Ledger(tmp_path / "ledger")
    ledger.index.write(tables_of(collection, [collection.usable]), {"shards": 1}, about_source(source))
    expected = source.read(4)
    with open(tmp_path / "00001.tar", "r+b") as tar:
        tar.write(bytes(512))
    found = source_of(ledger.index.known().source, ledger.index.take([4]))
    assert (found.read(0), found.carried(0)) == (expected, {"txt": b""})


def test_a_source_that_only_one_process_can_read_has_no_rows_to_read_by(images):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(images), "/pictures", recursive=True)
    try:
        assert about_source(open_source("memory://pictures")) is None
    finally:
        memory.rm("/pictures", recursive=True)


def test_a_vanished_input_has_a_row_that_says_so(images):
    source = open_source(images)
    ordered = InOrder(source, [source.entry(5).name, "gone.png"])
    assert ordered.reader().read(ordered.location(0)) == source.read(5)
    assert ordered.location(1).more == {"fault": "vanished"}


# --- shards by their rows ---------------------------------------------------------------------------------------------


def run_of(home):
    """The finished run in a folder, with its whole source open."""
    finished = Finished.of(home / "shards")
    known, request = finished.known, Request(home / "images")
    source = InOrder(open_source(home / "images"), finished.ledger.names())
    return Run(
        request, make_runtime("cpu", finished.config.precision, lambda sentence: None),
        known_collection(source, finished.ledger, finished.config, known), finished.config,
        Output(finished.out, finished.ledger), known["fingerprint"], KnownPlan.of(finished.ledger),
    )  # fmt: skip


@pytest.mark.parametrize("moved", [False, True])
def test_a_shard_made_of_its_rows_alone_has_the_same_bytes(tmp_path, images, moved):
    (images / "disc" / "a.png").write_bytes(b"no image")
    semshard.protect(images, tmp_path / "shards", max_rejects=0.1, **TINY)
    run = run_of(tmp_path)
    if moved:
        images.rename(tmp_path / "elsewhere")
    crafting = Crafting.of(run, surrogate_of(run))
    for name in ("again", "again.ledger"):
        (tmp_path / name).mkdir()
    order = ShardOrder(
        crafting, run.config, Recipe(run.classes, run.fields, run.config.quality), tmp_path / "again",
        tmp_path / "again.ledger", record_of(run),
    )  # fmt: skip
    source = open_source(tmp_path / "elsewhere") if moved else None
    for shard, numbers in enumerate(run.known_plan.shards):
        part = known_part(run.ledger, run.config, run.ledger.known(), numbers, source)
        with deterministic():
            stats = make_shard(order, ShardWork(shard, part, np.arange(len(numbers))))
        assert stats.samples == len(numbers)
        for suffix in (".tar", ".parquet"):
            made, published = (tmp_path / place / f"{shard:05d}{suffix}" for place in ("again", "shards"))
            assert made.read_bytes() == published.read_bytes()
        assert Ledger(tmp_path / "again.ledger").shard(shard) == run.ledger.shard(shard)
    assert len(run.known_plan.shards) == 3


@pytest.mark.parametrize("kind", [folder, zipped, tars, imagenet, shapes])
def test_numbered_parts_list_nothing_of_a_source_that_is_read_by_rows_and_make_the_same_bytes(tmp_path, kind):
    home = tmp_path / "source"
    home.mkdir()
    source = kind(home)

    def step(name, **options):
        return semshard.protect(source, tmp_path / name, **(TINY | {"shard_size": 3, "max_rejects": 0.9} | options))

    step("whole")
    step("parts", until="surrogate")
    assert KnownSource.of(Request(source), Ledger(ledger_path(tmp_path / "parts")))
    for number in (2, 1):
        assert listed_below(home, lambda number=number: step("parts", part=f"{number}/2")) == []
    listed = listed_below(home, lambda: step("parts", finish=True))
    assert kind not in (folder, imagenet) or listed, "the finish does list it"
    assert public_bytes(tmp_path / "parts") == public_bytes(tmp_path / "whole")


@pytest.fixture
def own(images, tmp_path):
    """images/ and shards/ of a run that were never moved."""
    semshard.protect(images, tmp_path / "shards", **TINY)
    return tmp_path


def test_rows_of_several_shards_are_read_at_once_up_to_a_number_of_inputs(own, monkeypatch):
    run, ledger = run_of(own), Ledger(ledger_path(own / "shards"))
    source = KnownSource.of(Request(own / "images"), ledger)
    shards, expected = list(run.known_plan.shards), []
    for numbers in shards:
        expected.append([run.collection.source.entry(number).name for number in numbers.tolist()])
    for most, groups in ((1, 3), (32, 2), (1 << 16, 1)):
        monkeypatch.setattr("semshard.protection.known_source.TOGETHER", most)
        found = list(source.collections(run.config, shards))
        assert len({id(collection) for collection, _ in found}) == groups
        for names, (collection, places) in zip(expected, found, strict=True):
            assert [collection.source.entry(place).name for place in places.tolist()] == names


def test_parts_read_rows_after_a_removal_and_of_added_images_too(own):
    def step(out="shards", **options):
        return semshard.protect(own / "images", own / out, **(TINY | options))

    semshard.remove(own / "shards", keys=["0000100001"])
    before = public_bytes(own / "shards")
    for path in (own / "shards").glob("00001*"):
        path.unlink()
    assert listed_below(own / "images", lambda: step(part="2/3")) == []
    assert public_bytes(own / "shards") == before

    Image.fromarray(draw_shape(8000)).save(own / "images" / "disc" / "new.png")
    for name in ("shards", "shards.ledger"):
        shutil.copytree(own / name, own / name.replace("shards", "whole"))
    step("whole", extend=True)
    step(extend=True, until="surrogate")
    assert listed_below(own / "images", lambda: step(part="4/4")) == []
    step(finish=True)
    assert public_bytes(own / "shards") == public_bytes(own / "whole")


def test_another_source_or_another_way_to_read_it_is_opened(own):
    ledger = Ledger(ledger_path(own / "shards"))
    assert KnownSource.of(Request(own / "images"), ledger)
    (own / "other").mkdir()
    table = own / "labels.csv"
    table.write_text("path,label\n")
    for request in (
        Request(own / "other"),
        Request("shapes:40"),
        Request(own / "images", options=SourceOptions(str(table))),
        Request(own / "images", workers=WorkerOptions("ray")),
    ):
        assert KnownSource.of(request, ledger) is None
    assert KnownSource.of(Request(own / "images"), Ledger(own / "nowhere")) is None


def test_a_part_of_a_ledger_is_that_of_the_whole(finished):
    run = run_of(finished)
    numbers = np.array([7, 1, 30])
    part, expected = known_part(run.ledger, run.config, run.ledger.known(), numbers), run.collection.part(numbers)
    for name in ("sha256", "sizes", "labels"):
        assert np.array_equal(getattr(part, name), getattr(expected, name))
    for name in ("rejects", "classes", "size", "decoding", "resolution"):
        assert getattr(part, name) == getattr(expected, name)
    assert part.numbers_in_whole(np.arange(3)).tolist() == [7, 1, 30]
