"""Tars of other tools: one in is one out, and every field is carried, byte for byte, under a name of its own."""

import gc
import json
import tarfile

import pytest
import webdataset

import semshard
from semshard.sources.shapes import draw_shape
from tests.support.corpus import saved
from tests.support.photo_runs import add, flat, foreign, manifest, passes, photo, pixels, protect, samples, sources_of
from tests.support.runs import TINY

ABOUT = {"class", "width", "height", "linf", "sha256"}


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """shards A of drawn shapes, and what comes of them, with fields of another tool in between, in home/out."""
    home = tmp_path_factory.mktemp("tars")
    semshard.protect("shapes:30", home / "a", **(TINY | {"shard_size": 10}))
    (home / "foreign").mkdir()
    for number, (name, of_tar) in enumerate(samples(home / "a").items()):
        with tarfile.open(home / "foreign" / name, "w") as tar:
            for place, (key, parts) in enumerate(of_tar):
                for extension, data in parts.items():
                    add(tar, f"some/{key}.{extension}", data)
                if place % 2 == number % 2:
                    add(tar, f"some/{key}.txt", f"text of {key}, ä\r\n".encode() * 40)
                    add(tar, f"some/{key}.webp", saved(draw_shape(int(key) % 97), "WEBP"))
                    add(tar, f"some/{key}.source.cls", b"theirs")
    with tarfile.open(home / "foreign" / "00003.tar", "w") as tar:
        for place in range(3):
            add(tar, f"{place}.png", b"no picture")
            add(tar, f"{place}.cls", b"1")
    protect(f"wds:{home}/foreign/{{00000..00003}}.tar", home / "out", crop=0, max_rejects=0.2)
    return home


def test_one_tar_in_is_one_tar_out_in_the_same_order(again):
    before, after = samples(again / "foreign"), samples(again / "out")
    assert sorted(after) == sorted(before)
    named = sources_of(again / "out")
    for name in ("00000.tar", "00001.tar", "00002.tar"):
        assert [named[key] for key, _ in after[name]] == [f"{name}/{key}" for key, _ in before[name]]
    passes(again / "out", 30)


def test_the_fields_of_other_tools_are_carried_byte_for_byte(again):
    before = {f"{tar}/{key}": parts for tar, of_tar in samples(again / "foreign").items() for key, parts in of_tar}
    named = sources_of(again / "out")
    for key, parts in flat(again / "out").items():
        theirs = before[named[key]]
        for extension, published in (("txt", "txt"), ("webp", "webp"), ("source.cls", "source.source.cls")):
            assert parts.get(published) == theirs.get(extension)
        assert parts["cls"] == theirs["cls"]
        assert parts["png"] != theirs["png"]
        assert json.loads(parts["json"])["sha256"] != json.loads(theirs["json"])["sha256"], "our own .json is replaced"
    assert manifest(again / "out")["fields"]["carried"] == ["source.source.cls", "txt", "webp"]


def test_a_tar_without_a_usable_sample_is_an_empty_tar(again):
    assert samples(again / "out")["00003.tar"] == []
    assert manifest(again / "out")["shards"][3]["samples"] == 0
    assert manifest(again / "out")["counts"]["rejected"] == 3


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_what_came_of_tars(again):
    before = flat(again / "out")
    tars = [str(path) for path in sorted((again / "out").glob("*.tar"))]
    read = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    gc.collect()  # webdataset leaves tars open
    assert [sample["__key__"] for sample in read] == list(before)
    for sample in read:
        assert {name: sample[name] for name in before[sample["__key__"]]} == before[sample["__key__"]]


def test_a_field_with_a_name_of_ours_is_published_under_source(tmp_path):
    every = [
        {"jpg": saved(photo(n), "JPEG"), "png": saved(photo(n + 40), "PNG"), "cls": b"their %d" % n,
         "txt": (b"cat", b"dog")[n % 2], "json": b'{"width": %d}' % n}
        for n in range(8)
    ]  # fmt: skip
    out = tmp_path / "out"
    protect(f"wds:{foreign(tmp_path / 'tars', every)},image=jpg,label=txt", out)
    assert manifest(out)["classes"] == ["cat", "dog"]
    for theirs, (_, parts) in zip(every, samples(out)["00000.tar"], strict=True):
        assert parts["source.cls"] == theirs["cls"]
        assert parts["source.png"] == theirs["png"]
        assert parts["json"] == theirs["json"]
        assert json.loads(parts["semshard.json"]).keys() == ABOUT
        assert pixels(parts["png"]).shape == pixels(theirs["jpg"]).shape
    passes(out, 8)


def test_no_field_is_lost_where_two_would_get_the_same_name(tmp_path):
    every = [
        {"png": saved(photo(n), "PNG"), "txt": (b"cat", b"dog")[n % 2], "cls": b"one", "source.cls": b"other"}
        for n in range(8)
    ]
    out = tmp_path / "out"
    protect(f"wds:{foreign(tmp_path / 'tars', every)},label=txt", out)
    for _, parts in samples(out)["00000.tar"]:
        assert (parts["source.cls"], parts["source.source.cls"]) == (b"one", b"other")
    passes(out, 8)


def test_a_json_of_another_tool_called_as_ours_is_kept_apart(tmp_path):
    every = [
        {"png": saved(photo(n), "PNG"), "cls": b"%d" % (n % 2), "json": b'{"a": 1}', "semshard.json": b'{"b": 2}'}
        for n in range(8)
    ]
    out = tmp_path / "out"
    protect(f"wds:{foreign(tmp_path / 'tars', every)}", out)
    for _, parts in samples(out)["00000.tar"]:
        assert (parts["json"], parts["source.semshard.json"]) == (b'{"a": 1}', b'{"b": 2}')
        assert json.loads(parts["semshard.json"]).keys() == ABOUT
    passes(out, 8)


def test_a_field_with_a_very_long_name_is_left_out_and_told_of(tmp_path):
    every = [{"png": saved(photo(n), "PNG"), "cls": b"%d" % (n % 2)} for n in range(8)]
    every[3] |= {"x" * 95: b"too long", "y" * 70: b"long"}
    sentences = []
    protect(
        f"wds:{foreign(tmp_path / 'tars', every)}",
        tmp_path / "out",
        progress=lambda event: sentences.append(event.message),
    )
    assert sum("1 files in tars" in sentence and "too long a name" in sentence for sentence in sentences) == 1
    assert [parts.get("y" * 70) for _, parts in samples(tmp_path / "out")["00000.tar"]].count(b"long") == 1
    assert manifest(tmp_path / "out")["fields"]["carried"] == ["y" * 70]
    passes(tmp_path / "out", 8)


def test_a_tar_that_vanishes_during_the_run_makes_late_rejects(tmp_path):
    every = [{"png": saved(draw_shape(n), "PNG"), "cls": b"%d" % (n % 2), "txt": b"a caption"} for n in range(8)]
    for name in ("a.tar", "b.tar"):
        foreign(tmp_path / "tars", every, name)

    def vanish(event):
        if event.phase == "craft" and event.done == 0:
            (tmp_path / "tars" / "b.tar").unlink(missing_ok=True)

    result = protect(
        f"wds:{tmp_path}/tars/{{a,b}}.tar", tmp_path / "out", progress=vanish, max_rejects=1.0, crop=0, craft_batch=1
    )
    assert result.samples + result.rejected == 16
    assert result.rejected > 0
    assert all(parts["txt"] == b"a caption" for parts in flat(tmp_path / "out").values())
    assert "vanished" in (tmp_path / "out.ledger" / "rejects.jsonl").read_text()
