"""What holds of every place: a folder, and an object store."""

import hashlib
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semshard.errors import AlreadyThere, StorageError, UsageError
from semshard.storage import Entry, Part, open_place, publish
from tests.support.object_store import QUICK

NAMES = st.sampled_from(["00000.tar", "a/b", "a/c/d.json", "index/00000.parquet", "x"])
OPERATIONS = st.one_of(
    st.tuples(st.just("put"), NAMES, st.binary(max_size=40)),
    st.tuples(st.just("put if absent"), NAMES, st.binary(max_size=2)),
    st.tuples(st.just("delete"), NAMES, st.none()),
)
EVERY = {"suppress_health_check": [HealthCheck.function_scoped_fixture]}
SIZES = [0, 1, QUICK.part, QUICK.part + 1, 5 * QUICK.part + 5]


def bytes_of(size):
    return (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]


def as_they_come(data, step):
    return (data[at : at + step] for at in range(0, len(data), step))


@given(operations=st.lists(OPERATIONS, max_size=8), cut=st.tuples(st.integers(0, 45), st.integers(0, 45)))
@settings(max_examples=6, **EVERY)
def test_a_place_holds_what_was_put_there_last(new_place, operations, cut):
    place, held = new_place(), {}
    for what, name, data in operations:
        if what == "put":
            place.put(name, data)
            held[name] = data
        elif what == "delete":
            place.delete(name)
            held.pop(name, None)
        elif held.get(name, data) == data:
            assert place.put_if_absent(name, data) == (name not in held)
            held[name] = data
        else:
            with pytest.raises(AlreadyThere, match="is there already, with other bytes"):
                place.put_if_absent(name, data)
    assert sorted(place.list(), key=str) == sorted((Entry(name, len(data)) for name, data in held.items()), key=str)
    assert {entry.name for entry in place.list("a")} == {name for name in held if name.startswith("a/")}
    for name, data in held.items():
        assert place.get(name) == b"".join(place.stream(name)) == data
        assert place.size(name) == len(data)
        assert place.get_range(name, *cut) == data[slice(*cut)]
    for name in {"a/b", "a"} - held.keys():
        for read in (place.get, place.size, lambda name: list(place.stream(name)), lambda n: place.get_range(n, 0, 1)):
            with pytest.raises(FileNotFoundError):
                read(name)


@pytest.mark.parametrize("size", SIZES)
def test_contents_of_every_form_and_size_arrive_whole(new_place, tmp_path, size):
    place, data, file = new_place(), bytes_of(size), tmp_path / "content"
    file.write_bytes(data)
    contents = [data, file, [data], as_they_come(data, 1000), iter([b"", data])]
    for number, content in enumerate(contents):
        place.put(f"{number}.tar", content)
        assert place.get(f"{number}.tar") == data
        assert place.get_range(f"{number}.tar", 1, size + 9) == data[1:]
    assert {entry.size for entry in place.list()} == {size}


@pytest.mark.parametrize(
    "name", ["", "/", "/etc/x", "../x", "a/../x", "a/..", "a//b", "a/", ".x", "a/.x", "a\\b", "C:x", "a\nb", "a\0", "é"]
)
def test_a_name_cannot_lead_out_of_the_place(new_place, name):
    place = new_place()
    place.put("inside", b"1")
    for use in (
        lambda: place.put(name, b"2"),
        lambda: place.put_if_absent(name, b"2"),
        lambda: place.get(name),
        lambda: place.size(name),
        lambda: place.delete(name),
    ):
        with pytest.raises(StorageError, match="cannot name a file"):
            use()
    assert [entry.name for entry in place.list()] == ["inside"]


def test_what_breaks_while_it_is_written_was_never_there(new_place, store, tmp_path):
    def breaks():
        yield bytes_of(2 * QUICK.part)
        raise KeyError("mine")

    place, before = new_place(), store.unfinished("bucket")
    place.put("old", b"old")
    for name in ("old", "new"):
        with pytest.raises(KeyError, match="mine"):
            place.put(name, breaks())
    assert [entry.name for entry in place.list()] == ["old"]
    assert place.get("old") == b"old"
    assert store.unfinished("bucket") == before
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "old"]


RACE = textwrap.dedent("""
    import sys
    from semshard.errors import AlreadyThere
    from semshard.storage import open_place
    place = open_place(sys.argv[1])
    place.put("ready-" + sys.argv[2], b"")
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(8):
        try:
            print(int(place.put_if_absent(f"lock-{number}", sys.argv[2].encode())))
        except AlreadyThere:
            print(0)
""")


def test_of_two_processes_that_race_one_wins(new_place):
    place = new_place()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, place.url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    for number, (a, b) in enumerate(zip(*won, strict=True)):
        assert {a, b} == {"0", "1"}
        assert place.get(f"lock-{number}") == (b"a" if a == "1" else b"b")


def test_a_place_can_be_sent_to_another_process(new_place):
    place = new_place()
    place.put("x", b"1")
    sent = pickle.dumps(place)
    assert pickle.loads(sent).get("x") == open_place(place.url).get("x") == b"1"
    assert b"AWS" not in sent
    assert os.environ.get("AWS_SECRET_ACCESS_KEY", "-").encode() not in sent


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "is not of the form s3://BUCKET/PREFIX"),
        ("s3://bucket/../x", "is not of the form"),
        ("s3://bucket//x", "is not of the form"),
        ("hf://org/set", "hf:// is not opened here; give a folder, or s3://…, gs://…, az://…"),
        ("s3://AKIAXYZ:secret@bucket/x", "credentials and options belong in the environment"),
        ("s3://bucket/x?secret=1", "credentials and options belong in the environment"),
    ],
)
def test_a_url_that_names_no_place_is_refused_without_repeating_secrets(url, words):
    with pytest.raises(UsageError, match=words) as caught:
        open_place(url)
    assert "secret" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


class Ending:
    """A place whose process ends before one of its writes: what follows is not carried out."""

    def __init__(self, place, writes):
        self._place, self._left = place, [writes]

    def __getattr__(self, name):
        def use(*arguments):
            if name.startswith("put"):
                self._left[0] -= 1
                if self._left[0] < 0:
                    raise KeyboardInterrupt
            return getattr(self._place, name)(*arguments)

        return use


def shard(place, ledger, first=b"tar"):
    return [
        Part(place, "00000.tar", [first, b" ", bytes_of(2 * QUICK.part)]),
        Part(place, "00000.parquet", b"rows"),
        Part(ledger, "00000.parquet", b"private rows"),
    ], b"stats of " + first


def test_who_finds_the_mark_of_a_shard_finds_the_shard(new_place):
    place, ledger = new_place(), new_place()
    (parts, stats), expected = shard(place, ledger), {"00000.tar", "00000.parquet", "00000_stats.json"}
    for writes in range(4):
        ending = Ending(place, writes)
        with pytest.raises(KeyboardInterrupt):
            both = [Part(ending if part.place is place else part.place, part.name, part.content) for part in parts]
            publish(both, ending, "00000_stats.json", stats)
            raise KeyboardInterrupt  # after the last write
        assert ("00000_stats.json" in {entry.name for entry in place.list()}) == (writes == 3)
    assert publish(parts, place, "00000_stats.json", stats) is False
    place.delete("00000_stats.json")
    assert publish(parts, place, "00000_stats.json", stats) is True
    assert {entry.name for entry in place.list()} == expected
    assert place.get("00000.tar") == b"tar " + bytes_of(2 * QUICK.part)
    assert ledger.get("00000.parquet") == b"private rows"


def test_another_shard_of_that_number_is_an_error_before_it_writes(new_place):
    place, ledger = new_place(), new_place()
    for first in (b"tar", b"other"):
        parts, stats = shard(place, ledger, first)
        if first == b"tar":
            assert publish(parts, place, "00000_stats.json", stats)
        else:
            with pytest.raises(AlreadyThere, match="would not be the same bytes"):
                publish(parts, place, "00000_stats.json", stats)
    assert place.get("00000.tar").startswith(b"tar ")
