"""Shards as bytes: reproducible, small headers, published whole or not at all."""

import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from semshard.atomic import atomic_write, remove_leftovers
from semshard.errors import ShardError
from semshard.shards import SampleBatch, ShardWriter, done_stats, encode, mark_done

CLASSES = ("cat", "dög")


def picture(seed):
    return np.random.default_rng(seed).integers(10, 240, (9, 11, 3), np.uint8)


def sample(shard, place, noise):
    clean = picture(place)[None]
    return encode(SampleBatch(shard, [place], [place % 2], clean, clean + np.uint8(noise)), CLASSES)[0]


def write(folder, count=5):
    with ShardWriter(folder, 3) as writer:
        for place in range(count):
            writer.add([sample(3, place, place + 1)])
    return writer.stats


def test_a_shard_has_the_same_bytes_every_time(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert write(tmp_path / "a") == write(tmp_path / "b")
    for name in ("00003.tar", "00003.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_tar_headers_say_nothing_about_who_and_when(tmp_path):
    write(tmp_path)
    with tarfile.open(tmp_path / "00003.tar") as tar:
        for entry in tar:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, 0, "", "")
            assert entry.mode == 0o644
            assert not entry.pax_headers


def test_a_tar_holds_no_byte_more_than_its_format_asks_for(tmp_path):
    stats = write(tmp_path)
    with tarfile.open(tmp_path / "00003.tar") as tar:
        entries = sum(512 + -(-entry.size // 512) * 512 for entry in tar)
    assert stats.bytes == -(-(entries + 1024) // 10240) * 10240 == (tmp_path / "00003.tar").stat().st_size


def test_samples_are_complete_and_keys_are_digits(tmp_path):
    write(tmp_path)
    with tarfile.open(tmp_path / "00003.tar") as tar:
        names = tar.getnames()
        about = json.loads(tar.extractfile("0000300001.json").read())
        assert tar.extractfile("0000300001.cls").read() == b"1"
    assert names[:3] == ["0000300000.cls", "0000300000.json", "0000300000.png"]
    assert about["class"] == "dög"
    assert about["linf"] == 2
    assert (about["width"], about["height"]) == (11, 9)
    assert set(about) == {"class", "width", "height", "linf", "sha256"}


def test_the_parquet_has_a_row_per_sample(tmp_path):
    stats = write(tmp_path)
    rows = pq.read_table(tmp_path / "00003.parquet").to_pylist()
    assert [row["key"] for row in rows] == [f"00003{n:05d}" for n in range(5)]
    assert max(row["linf"] for row in rows) == stats.linf_max == 5


def test_an_error_in_the_middle_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), ShardWriter(tmp_path, 0) as writer:
        writer.add([sample(0, 0, 0)])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_done_only_when_its_stats_say_so_and_its_files_agree(tmp_path):
    stats = write(tmp_path)
    assert done_stats(tmp_path, 3) is None
    mark_done(tmp_path, stats)
    assert done_stats(tmp_path, 3) == stats
    with open(tmp_path / "00003.tar", "ab") as tar:
        tar.write(b"x")
    assert done_stats(tmp_path, 3) is None
    (tmp_path / "00003_stats.json").write_text("{")
    with pytest.raises(ShardError, match=r"00003_stats\.json is damaged"):
        done_stats(tmp_path, 3)


def test_an_atomic_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"new, half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    (tmp_path / ".00000.tar.semshard-tmp").write_bytes(b"half")
    (tmp_path / "00000.tar").write_bytes(b"whole")
    (tmp_path / ".hidden").write_bytes(b"mine")
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", "00000.tar"]
