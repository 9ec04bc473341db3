"""Names of shards and keys of samples: they sort as their numbers, and can be taken apart again."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import semshard
from semshard.settings import MOST_IN_SHARD
from semshard.shards import check_room, code_of, digits_for, key_of, pattern_of, sample_key, shard_in, tar_name, tar_of
from semshard.shards.names import is_key, shard_name

ROOT = Path(semshard.__file__).parent
# How many arguments a call has with the digits; the files of which every run has few, or which no run keeps.
WITH_DIGITS = {
    "shard_name": 2, "tar_name": 2, "sample_key": 3, "key_of": 2, "tar_of": 2, "done_stats": 3, "mark_done": 3,
    "ShardWriter": 3, "SampleBatch": 7, "thinned": 5, "publish_thinned": 4,
}  # fmt: skip
WITHOUT = {"benchmark/data_path.py", "protection/dry_run.py", "shards/shard_lists.py", "shards/names.py"}


@st.composite
def samples(draw):
    """The number of shards of a run, two of them, and a place in each."""
    shards = draw(st.one_of(st.integers(1, 10**9), st.sampled_from([1, 10**5, 10**5 + 1, 10**6, 10**6 + 1])))
    pairs = st.tuples(st.integers(0, shards - 1), st.integers(0, MOST_IN_SHARD - 1))
    return shards, draw(pairs), draw(pairs)


@given(samples())
def test_names_and_keys_sort_as_their_numbers_and_can_be_taken_apart(drawn):
    shards, one, other = drawn
    digits = digits_for(shards)
    assert (tar_name(one[0], digits) < tar_name(other[0], digits)) == (one[0] < other[0])
    key, code = sample_key(*one, digits), one[0] * MOST_IN_SHARD + one[1]
    assert (key < sample_key(*other, digits)) == (one < other)
    assert (code_of(key), key_of(code, digits), tar_of(code, digits)) == (code, key, tar_name(one[0], digits))
    assert is_key(key, shard_name(one[0], digits))
    assert is_key(key, shard_name(other[0], digits)) == (one[0] == other[0])
    for suffix in (".tar", ".parquet", "_stats.json"):
        assert shard_in(shard_name(one[0], digits) + suffix) == one[0]


@given(st.integers(1, 10**5), st.data())
def test_up_to_a_hundred_thousand_shards_have_the_five_digits_that_they_always_had(shards, data):
    shard, place = data.draw(st.integers(0, shards - 1)), data.draw(st.integers(0, MOST_IN_SHARD - 1))
    digits = digits_for(shards)
    assert shard_name(shard, digits) == f"{shard:05d}"
    assert sample_key(shard, place, digits) == f"{shard:05d}{place:05d}"


@given(st.integers(1, 10**8), st.integers(0, 10**8))
def test_a_run_that_grows_keeps_its_digits_or_is_told_that_it_cannot_grow(shards, more):
    if digits_for(shards + more) == digits_for(shards):
        check_room(Path("out"), shards, more)
    else:
        with pytest.raises(semshard.OutputError, match="into another --out"):
            check_room(Path("out"), shards, more)


def test_a_number_that_does_not_fit_has_no_name():
    for shard, digits in ((100_000, 5), (-1, 5), (10**6, 6)):
        with pytest.raises(ValueError, match="has no name"):
            shard_name(shard, digits)


@pytest.mark.parametrize(
    "name", ["7.tar", "0007.tar", "00007.TAR", "a00007.tar", "00007.tar.bak", ".00007.tar", "00007", "٠٠٠٠٧.tar"]
)
def test_files_of_others_are_no_shards(name):
    assert shard_in(name) is None


def test_a_pattern_names_all_tars():
    assert [pattern_of(shards) for shards in (0, 1, 2)] == ["", "00000.tar", "{00000..00001}.tar"]
    assert pattern_of(10**6) == "{000000..999999}.tar"


def test_nobody_leaves_out_the_digits():
    forgotten = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())) if name not in WITHOUT else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WITH_DIGITS:
                given = len(node.args) + any(keyword.arg == "digits" for keyword in node.keywords)
                starred = any(isinstance(argument, ast.Starred) for argument in node.args)
                if given < WITH_DIGITS[node.func.id] and not starred:
                    forgotten.append(f"{name}:{node.lineno}: {node.func.id}")
    assert forgotten == []
