"""The ledger's list of inputs: what is written is read, in any part, whatever is killed, damaged or of long ago."""

import json
import os
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semshard.errors import LedgerError
from semshard.shards import REMOVED, InputRow, Ledger

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
OLD = ("number", "source", "sha256", "label", "height", "width", "reason", "note", "shard", "place")


@st.composite
def lists(draw):
    """Rows of inputs, and the number of shards that the usable ones are planned for."""
    count, shards = draw(st.integers(1, 40)), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    usable, places = random.permutation(count)[: draw(st.integers(0, count))], [0] * shards
    where = {}
    for number in usable.tolist():
        shard = int(random.integers(shards))
        where[number] = (shard, places[shard])
        places[shard] += 1
    rows = []
    for number in range(count):
        sha256 = random.bytes(32) if random.integers(4) else None
        text, file = draw(TEXTS), draw(st.sampled_from([b"", b"a/\xff", b"t.tar"]))
        reason = "" if number in where else "is broken"
        rows.append(
            InputRow(
                number, f"{number}{text}", sha256, number % 3 - 1, number, 2, reason, text,
                *where.get(number, (-1, -1)), file, number - 1, 2 * number, draw(st.sampled_from(["", "{}"])),
            )
        )  # fmt: skip
    return rows, shards


def planned(rows, shards):
    """The inputs of each shard, in their places."""
    of = [sorted((row.place, row.number) for row in rows if row.shard == shard) for shard in range(shards)]
    return [[number for _, number in each] for each in of]


def some(count=20, shards=3):
    rows = [
        InputRow(n, f"class/{n}.png", bytes([n]) * 32, n % 2, 8, 8, "", "", n % shards, n // shards)
        for n in range(count)
    ]
    return rows, {"shards": shards, "history": []}


def files(ledger):
    return sorted(str(path.relative_to(ledger.path)) for path in ledger.path.rglob("*") if path.is_file())


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, block=4)


@pytest.mark.slow
@settings(max_examples=15)
@given(lists(), st.integers(3, 12), st.randoms(use_true_random=False))
def test_what_is_written_is_read_as_a_whole_and_in_any_part(tmp_path_factory, written, block, random):
    rows, shards = written
    ledger = Ledger(tmp_path_factory.mktemp("ledger"), block=block)
    ledger.write_sources(iter(rows), {"shards": shards, "x": "ü"}, {"root": b"\xff".decode("utf-8", "surrogateescape")})
    assert list(ledger.inputs()) == rows
    assert ledger.names() == [row.source for row in rows]
    assert list(ledger.rejected()) == [row for row in rows if row.reason]
    assert ledger.state() == {"shards": shards, "x": "ü"}
    assert ledger.index.known().source == {"root": "\udcff"}
    numbers = [random.randrange(len(rows)) for _ in range(random.randrange(9))]
    assert ledger.rows(numbers) == [rows[number] for number in numbers]
    assert [list(each) for each in ledger.index.shards()] == planned(rows, shards)
    assert [list(ledger.index.shard(shard)) for shard in range(shards)] == planned(rows, shards)
    scanned = ledger.scanned()
    assert [value.tobytes() for value in scanned["sha256"]] == [row.sha256 or bytes(32) for row in rows]
    for name in ("label", "height", "width", "shard", "place", "reason"):
        assert scanned[name].tolist() == [getattr(row, name) for row in rows]
    in_files = [pq.read_table(path)["number"].to_pylist() for path in sorted((ledger.path / "index").iterdir())]
    assert in_files == [list(range(at, min(at + block, len(rows)))) for at in range(0, len(rows), block)]


def test_an_input_that_is_not_there_has_no_row(ledger):
    ledger.write_sources(*some())
    for number in (-1, 20):
        with pytest.raises(IndexError):
            ledger.rows([3, number])


def test_only_the_files_that_hold_a_row_are_read(ledger):
    rows, state = some()
    ledger.write_sources(rows, state)
    for path in (ledger.path / "index").iterdir():
        if path.name not in ("00001.parquet", "00004.parquet"):
            path.unlink()
    assert ledger.rows([17, 4, 7]) == [rows[17], rows[4], rows[7]]
    with pytest.raises(LedgerError, match=r"00002\.parquet is missing"):
        ledger.rows([8])


@settings(max_examples=10)
@given(lists(), st.integers(3, 12), st.sets(st.integers(0, 39), min_size=1))
def test_rejected_inputs_keep_all_else_and_other_files_stay(tmp_path_factory, written, block, chosen):
    rows, shards = written
    numbers = sorted(number for number in chosen if number < len(rows))
    ledger = Ledger(tmp_path_factory.mktemp("ledger"), block=block)
    ledger.write_sources(rows, {"shards": shards}, {"a": 1})
    before = {path: path.stat().st_mtime_ns for path in ledger.path.rglob("*.parquet")}
    ledger.reject(numbers, REMOVED, {"shards": shards, "history": [1]})
    assert list(ledger.inputs()) == [replace(row, reason=REMOVED) if row.number in numbers else row for row in rows]
    assert [list(each) for each in ledger.index.shards()] == planned(rows, shards)
    assert ledger.state() == {"shards": shards, "history": [1]}
    assert ledger.index.known().source == {"a": 1}
    after = {path: path.stat().st_mtime_ns for path in ledger.path.rglob("*.parquet")}
    assert len(after) == len(before)
    assert len(after.items() - before.items()) == len({number // block for number in numbers})


def test_the_same_list_written_again_leaves_its_files_alone(ledger):
    rows, state = some()
    ledger.write_sources(rows, state)
    before = {path: path.stat().st_mtime_ns for path in ledger.path.rglob("*.parquet")}
    ledger.write_sources([*rows, InputRow(20, "new", None, 0, 0, 0, "why", "")], state)
    after = {path: path.stat().st_mtime_ns for path in ledger.path.rglob("*.parquet")}
    assert {str(path.relative_to(ledger.path)) for path in after.keys() - before.keys()} == {"index/00005.1.parquet"}
    assert before.items() <= after.items()


@pytest.mark.parametrize("change", ["write", "reject"])
def test_killed_between_any_two_files_a_change_counts_as_a_whole_or_not_at_all(tmp_path, monkeypatch, change):
    rows, state = some()
    new = {"shards": 3, "history": ["change"]}

    def write(ledger):
        if change == "reject":
            ledger.reject([0, 6, 19], REMOVED, new)
        else:
            ledger.write_sources((replace(row, note="x") for row in rows), new)

    calm = Ledger(tmp_path / "calm", block=4)
    calm.path.mkdir()
    calm.write_sources(rows, state)
    write(calm)
    for step in range(20):
        ledger = Ledger(tmp_path / str(step), block=4)
        ledger.path.mkdir()
        ledger.write_sources(rows, state)
        with monkeypatch.context() as patch:
            left, place = [step], os.replace

            def replace_or_die(*paths, left=left, place=place):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                place(*paths)

            patch.setattr(os, "replace", replace_or_die)
            try:
                write(ledger)
            except KeyboardInterrupt:
                assert list(ledger.inputs()) == rows
                assert ledger.state() == state
            else:
                break
        (ledger.path / "index" / ".00001.1.parquet.semshard-tmp").write_bytes(b"half")
        write(ledger)
        assert list(ledger.inputs()) == list(calm.inputs())
        assert (ledger.state(), files(ledger)) == (calm.state(), files(calm))
    assert step >= 4


@pytest.mark.parametrize("name", ["index/00002.parquet", "plan/00000.parquet"])
def test_no_turned_bit_gives_other_rows(ledger, name):
    """As a whole a damaged file is always refused; in part, where its rows are not the damaged ones, it may be read."""
    rows, state = some()
    ledger.write_sources(rows, state)
    path, random = ledger.path / name, np.random.default_rng(0)
    whole = path.read_bytes()

    def read_in_part():
        return ledger.rows(range(8, 12)) if "index" in name else [list(ledger.index.shard(shard)) for shard in range(3)]

    expected, refused = read_in_part(), 0
    for place in random.integers(0, len(whole), 150).tolist():
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        with pytest.raises(LedgerError, match=path.name):
            list(ledger.inputs() if "index" in name else ledger.index.shards())
        try:
            assert read_in_part() == expected
        except LedgerError:
            refused += 1
    assert refused > 100


def test_a_file_of_another_list_is_refused(tmp_path):
    for name, first in (("one", 0), ("two", 1)):
        (tmp_path / name).mkdir()
        rows, state = some()
        Ledger(tmp_path / name, block=4).write_sources(
            (replace(row, label=(row.label + first) % 2) for row in rows), state
        )
    one, two = (tmp_path / name / "index" / "00003.parquet" for name in ("one", "two"))
    two.write_bytes(one.read_bytes())
    ledger = Ledger(tmp_path / "two", block=4)
    with pytest.raises(LedgerError, match=r"00003\.parquet is damaged, or is not the file that the ledger wrote"):
        list(ledger.inputs())
    with pytest.raises(LedgerError, match=r"00003\.parquet is damaged, or is not the file that the ledger wrote"):
        ledger.rows([12])
    assert len(ledger.rows([11, 16])) == 2


def test_a_list_of_a_later_version_is_refused(ledger):
    ledger.write_sources(*some())
    path = ledger.path / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"form": 2}))
    with pytest.raises(LedgerError, match="later version"):
        ledger.state()


# --- of earlier versions ----------------------------------------------------------------------------------------------


def write_old(path, rows, state, names=OLD):
    """The file that earlier versions wrote."""
    types = {"number": pa.int64(), "sha256": pa.binary(32), "source": pa.string(), "reason": pa.string()}
    types["note"] = pa.string()
    schema = pa.schema([(name, types.get(name, pa.int32())) for name in names])
    table = pa.Table.from_pylist([{name: asdict(row)[name] for name in names} for row in rows], schema)
    pq.write_table(table.replace_schema_metadata({b"semshard": json.dumps(state).encode()}), path / "sources.parquet")


@pytest.mark.parametrize("names", [OLD, OLD[:-2]])
def test_the_list_of_an_earlier_version_is_read(ledger, names):
    rows, state = some()
    write_old(ledger.path, rows, state, names)
    if names != OLD:
        rows = [replace(row, shard=-1, place=-1) for row in rows]
    assert list(ledger.inputs()) == rows
    assert ledger.rows([19, 3, 3]) == [rows[19], rows[3], rows[3]]
    assert ledger.state() == state
    assert ledger.scanned("place")["place"].tolist() == [row.place for row in rows]
    assert ledger.names() == [row.source for row in rows]
    assert ledger.index.written.name == "sources.parquet"


def test_a_change_of_an_earlier_list_replaces_it(ledger):
    rows, state = some()
    write_old(ledger.path, rows, state)
    ledger.reject([5], REMOVED, state | {"history": ["remove"]})
    assert list(ledger.inputs()) == [*rows[:5], replace(rows[5], reason=REMOVED), *rows[6:]]
    assert ledger.state() == state | {"history": ["remove"]}
    assert [list(each) for each in ledger.index.shards()] == planned(rows, 3)
    assert not (ledger.path / "sources.parquet").exists()
    assert ledger.index.written.name == "index.json"
