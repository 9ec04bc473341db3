"""Folders as people have them: every file is an input with a class or a reason, and none stops the rest."""

import gc
import os
import tracemalloc
import uuid

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semshard.errors import RejectedImage, SourceError
from semshard.sources.folder import Folder
from tests.support.label_tables import TABLE_KINDS, write_table
from tests.support.runs import real


def lay(root, names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return str(root)


def outcomes(source):
    """Name → class name, or the reason for having none."""
    entries = [source.entry(number) for number in range(len(source))]
    return {e.name: e.reason if e.label is None else source.classes[e.label] for e in entries}


FLAT = ["1.png", "2.png", "3.png", "deep/4.png"]
TWO = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]


def test_nested_files_belong_to_the_class_folder(tmp_path):
    source = Folder(lay(tmp_path, ["cat/a.png", "cat/2019/b/c.png", "dog/a.png", "dog/b.png"]))
    assert source.classes == ("cat", "dog")
    assert [(source.entry(n).name, source.entry(n).label) for n in range(4)] == [
        ("cat/2019/b/c.png", 0),
        ("cat/a.png", 0),
        ("dog/a.png", 1),
        ("dog/b.png", 1),
    ]
    assert [source.read(n) for n in range(4)] == [source.entry(n).name.encode() for n in range(4)]


def test_a_file_beside_the_class_folders_has_a_reason_and_no_class(tmp_path):
    assert outcomes(Folder(lay(tmp_path, [*TWO, "stray.png"])))["stray.png"] == "not in a class folder"


def test_hidden_files_and_those_of_file_managers_do_not_count(tmp_path):
    source = Folder(lay(tmp_path, [*TWO, "cat/.x.png", "cat/.git/y", "cat/Thumbs.db", "__MACOSX/b/z", ".DS_Store"]))
    assert list(outcomes(source)) == TWO


def test_linked_folders_are_classes_and_loops_end(tmp_path):
    place = lay(tmp_path / "in", ["a/1.png", "a/2.png"])
    lay(tmp_path / "elsewhere", ["3.png", "4.png"])
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "b")
    os.symlink(tmp_path / "in", tmp_path / "in" / "a" / "loop")
    source = Folder(place)
    assert outcomes(source) == {"a/1.png": "a", "a/2.png": "a", "b/3.png": "b", "b/4.png": "b"}
    assert len(source.remarks) == 1
    assert "a/loop" in source.remarks[0]


def test_pipes_and_broken_links_are_rejected_when_they_are_read(tmp_path):
    place = lay(tmp_path, TWO)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    os.symlink("nowhere", tmp_path / "dog" / "dangling.png")
    source = Folder(place)
    reasons = {}
    for number, name in enumerate(outcomes(source)):
        try:
            source.read(number)
        except RejectedImage as reason:
            reasons[name] = str(reason)
    assert reasons == {"cat/pipe.png": "not a regular file", "dog/dangling.png": "vanished"}


@pytest.mark.parametrize("labels", ["", "auto"])
def test_file_and_folder_names_may_be_any_bytes(tmp_path, labels):
    odd = [b"sp ace", b"new\nline", "ünï→".encode(), b"\xff\xfe", rb"\xff\xfe", b"dots.in.name", b"x" * 251]
    for folder in odd:
        path = os.path.join(os.fsencode(tmp_path), folder)
        os.mkdir(path)
        for name in odd:
            with open(os.path.join(path, name + b".png"), "wb") as file:
                file.write(folder + name)
    source = Folder(str(tmp_path), labels)
    assert len(source) == len(outcomes(source)) == 49
    assert {source.read(number) for number in range(49)} == {a + b for a in odd for b in odd}
    "".join([*outcomes(source), *source.classes]).encode()  # printable in the ledger
    assert len(set(source.classes)) == (0 if labels else 7)


def test_the_spec_opens_the_same_folder_from_anywhere(tmp_path, monkeypatch):
    lay(tmp_path / "x" / "in", TWO)
    os.symlink(tmp_path / "x" / "in", tmp_path / "x" / "link")
    monkeypatch.chdir(tmp_path / "x")
    one = Folder("link")
    monkeypatch.chdir("/")
    other = Folder(one.spec)
    assert one.spec == other.spec == str(tmp_path / "x" / "in")
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no files"),
        ([".hidden/1.png"], "holds no files"),
        (["1.png", "2.png"], r"2 files but no class folders.*of its own.*--labels FILE.*--labels auto \(experimental"),
        (["a/1.png", "a/2.png", "1.png"], r"one class only \(a\); noise needs at least two"),
        (
            ["a/1.png", "b/1.png", "b/2.png"],
            r"has class with one image only \(a\); remove it, or merge it with another",
        ),
        ([f"{c}/1.png" for c in "edcba"], r"5 classes with one image only \(a, b, c and 2 more\)"),
    ],
)
def test_useless_folders_say_what_is_wrong(tmp_path, names, words):
    with pytest.raises(SourceError, match=words):
        Folder(lay(tmp_path, names))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"there is no folder .*nothing"):
        Folder(str(tmp_path / "nothing"))


@pytest.mark.parametrize("names", [FLAT, TWO, ["1.png"]])
def test_auto_labels_nothing_and_takes_any_tree(tmp_path, names):
    source = Folder(lay(tmp_path, names), "auto")
    assert source.classes == ()
    assert [source.entry(n).label for n in range(len(names))] == [None] * len(names)
    assert outcomes(source) == dict.fromkeys(names, "")
    with pytest.raises(SourceError, match="holds no files"):
        Folder(lay(tmp_path / "empty", [".x"]), "auto")


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_a_table_labels_a_flat_folder(tmp_path, kind):
    place = lay(tmp_path / "in", [*FLAT, "5.png", "6.png"])
    rows = [("3.png", "10"), ("./1.png", "9"), (f"{place}/2.png", "10"), ("deep\\4.png", "9"), ("5.png", "")]
    source = Folder(place, write_table(tmp_path / f"t.{kind}", rows))
    assert source.classes == ("9", "10")
    assert source.remarks == ()
    assert outcomes(source) == {
        "1.png": "9",
        "2.png": "10",
        "3.png": "10",
        "5.png": "label is empty",
        "6.png": f"no label in t.{kind}",
        "deep/4.png": "9",
    }


def test_a_table_inside_the_folder_is_no_input_however_it_is_spelt(tmp_path, monkeypatch):
    place = lay(tmp_path / "in", FLAT)
    table = write_table(tmp_path / "in" / "t.csv", [(name, str(n % 2)) for n, name in enumerate(FLAT)])
    os.symlink(tmp_path / "in", tmp_path / "link")
    monkeypatch.chdir(place)
    for spelt in (table, "t.csv", "../in/t.csv", f"file://{table}", str(tmp_path / "link" / "t.csv")):
        assert list(outcomes(Folder(place, spelt))) == FLAT
        assert list(outcomes(Folder(str(tmp_path / "link"), spelt))) == FLAT


def test_a_table_takes_the_place_of_class_folders_with_its_own_columns(tmp_path):
    place = lay(tmp_path / "in", TWO)
    rows = [(name, name[-5]) for name in TWO]
    source = Folder(place, write_table(tmp_path / "t.csv", rows, "file", "kind"), "file", "kind")
    assert outcomes(source) == {"cat/1.png": "1", "cat/2.png": "2", "dog/1.png": "1", "dog/2.png": "2"}


def test_rows_without_a_file_are_counted_and_are_no_inputs(tmp_path):
    place = lay(tmp_path / "in", TWO)
    rows = [(name, name[:3]) for name in TWO] + [("gone/1.png", "emu"), ("gone/2.png", "emu")]
    source = Folder(place, write_table(tmp_path / "t.csv", rows))
    assert source.classes == ("cat", "dog")
    assert list(outcomes(source)) == TWO
    assert source.remarks == ("2 rows of t.csv without a file, such as gone/1.png",)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("x/1.png", "a")], r"t\.csv names none of the 4 files in .*like x/1\.png, .*like 1\.png"),
        ([], r"no labelled file: no label in t\.csv"),
        ([(name, "") for name in FLAT], "no labelled file: label is empty"),
        ([(name, "a") for name in FLAT], r"one class only \(a\)"),
        ([("1.png", "a"), ("2.png", "b"), ("3.png", "b")], r"one image only \(a\)"),
    ],
)
def test_useless_tables_say_what_is_wrong(tmp_path, rows, words):
    place = lay(tmp_path / "in", FLAT)
    with pytest.raises(SourceError, match=words):
        Folder(place, write_table(tmp_path / "t.csv", rows))


def test_a_file_name_with_a_backslash_finds_its_row(tmp_path):
    place = lay(tmp_path / "in", ["a\\1.png", "2.png", "3.png", "4.png"])
    source = Folder(
        place, write_table(tmp_path / "t.csv", [("a\\1.png", "x"), ("2.png", "x"), ("3.png", "y"), ("4.png", "y")])
    )
    assert outcomes(source) == {"2.png": "x", "3.png": "y", "4.png": "y", r"a\\1.png": "x"}
    assert source.remarks == ()


def test_a_folder_behind_fsspec_is_the_same_source(tmp_path):
    system, place = fsspec.filesystem("memory"), f"memory://{uuid.uuid4().hex}"
    names = [*TWO, "stray.png", "cat/.hidden"]
    local = Folder(lay(tmp_path, names))
    for name in names:
        system.pipe(f"{place}/{name}", name.encode())
    remote = Folder(place)
    assert remote.spec == place
    assert (remote.digest, remote.classes, outcomes(remote)) == (local.digest, local.classes, outcomes(local))
    assert [remote.read(n) for n in range(len(remote))] == [local.read(n) for n in range(len(local))]
    rows = [(f"{place}/{name}", name[-5]) for name in TWO]
    write_table(tmp_path / "t.jsonl", rows)
    system.pipe(f"{place}/t.jsonl", (tmp_path / "t.jsonl").read_bytes())
    assert outcomes(Folder(place, f"{place}/t.jsonl")) == {name: name[-5] for name in TWO} | {
        "stray.png": "no label in t.jsonl"
    }
    system.rm(place, recursive=True)


def test_the_digest_depends_on_names_labels_and_reasons(tmp_path):
    place = lay(tmp_path / "in", [*TWO, "x/1.png"])
    labels = {name: name[:3] for name in TWO}
    tables = [
        labels,
        labels | {"x/1.png": "cat"},
        labels | {"x/1.png": "dog"},
        labels | {"x/1.png": ""},
        {name: text.replace("dog", "emu") for name, text in labels.items()},
    ]
    digests = [Folder(place, write_table(tmp_path / "t.csv", list(table.items()))).digest for table in tables]
    again = Folder(place, write_table(tmp_path / "t.csv", list(reversed(tables[0].items())))).digest
    auto = Folder(place, "auto").digest
    (tmp_path / "in/x/1.png").rename(tmp_path / "in/x/2.png")
    renamed = Folder(place, write_table(tmp_path / "t.csv", list(labels.items()))).digest
    assert again == digests[0]
    assert len({*digests, auto, renamed}) == len(digests) + 2


@given(st.data())
def test_every_file_is_one_entry_and_every_label_is_a_class(tmp_path_factory, data):
    part = st.text(st.sampled_from("ab .é猫\\"), min_size=1, max_size=6).filter(lambda text: not text.startswith("."))
    names = data.draw(st.lists(st.lists(part, min_size=2, max_size=3).map("/".join), max_size=12, unique=True))
    names = [name + ".png" for name in names] + ["p q/1.png", "p q/2.png", "p/1.png", "p/2.png"]
    place = lay(tmp_path_factory.mktemp("any"), names)
    sizes = {c: sum(name.startswith(c + "/") for name in names) for c in {name.split("/")[0] for name in names}}
    if min(sizes.values()) < 2:
        with pytest.raises(SourceError, match="one image only"):
            Folder(place)
        return
    source = Folder(place)
    entries = [source.entry(n) for n in range(len(source))]
    assert [e.name for e in entries] == sorted(e.name for e in entries)
    assert {e.name.replace("\\\\", "\\") for e in entries} == set(names)
    assert all(e.label is not None and source.classes[e.label] == e.name.split("/")[0] for e in entries)


@pytest.mark.slow
def test_an_index_takes_at_most_500_bytes_an_input(tmp_path):
    names = [f"{n % 40:030}/{n:025}.png" for n in range(4000)]
    place = lay(tmp_path / "in", names)
    table = write_table(tmp_path / "t.csv", [(name, name[:30]) for name in names])
    for labels in ("", "auto", table):
        Folder(place, labels)  # imports are no part of the index
        gc.collect()
        tracemalloc.start()
        source = Folder(place, labels)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(source) == 4000
        assert kept < 150 * 4000
        assert peak < 500 * 4000


def test_portable_greymaps_of_numbers_in_folders_of_the_same_names():
    source = Folder(str(real("faces")))
    assert len(source) == 400
    assert len(source.classes) == 40
    assert source.read(0)[:2] == b"P5"


def test_a_flat_folder_of_photographs_is_taken_without_labels():
    source = Folder(str(real("wild")), "auto")
    assert len(source) == len(list(real("wild").iterdir()))
