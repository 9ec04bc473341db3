"""Tars that lie anywhere, are named in any way, and are damaged or made to harm: each sample is read, or refused."""

import io
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semshard.errors import RejectedImage, SourceError
from semshard.sources.tars import absolute, expand
from semshard.sources.wds import WebDatasetShards
from tests.support.tars import entries, lay, reasons, samples, tar


@pytest.mark.parametrize("pattern", ["*.tar", "0000?.tar", "{00000..00002}.tar", "{00000,00001,00002}.tar"])
def test_patterns_name_the_same_tars(tmp_path, pattern):
    lay(tmp_path, samples(b"0"), samples(b"1"), samples(b"2"))
    assert [one.name for one in expand(f"{tmp_path}/{pattern}")] == ["00000.tar", "00001.tar", "00002.tar"]
    assert [one.name for one in expand(f"file://{tmp_path}/{pattern}")] == ["00000.tar", "00001.tar", "00002.tar"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    (tmp_path / "is it [a]?.tar").write_bytes(tar(samples(b"0")))
    (tmp_path / "is it [a]!.tar").write_bytes(tar(samples(b"1")))
    assert [one.name for one in expand(f"{tmp_path}/is it [a]?.tar")] == ["is it [a]?.tar"]
    assert len(expand(f"{tmp_path}/is it [a]*.tar")) == 2


@pytest.mark.parametrize("place", ["{0,1}.tar", "file:0.tar", "file://0.tar", "0.tar::file:1.tar", "x/../*.tar"])
@pytest.mark.parametrize("folder", ["plain", "{0,1}", "back\\slash", "of {"])
def test_a_place_made_absolute_names_the_same_tars_from_anywhere(tmp_path, monkeypatch, folder, place):
    (tmp_path / folder / "x").mkdir(parents=True)
    for number in range(2):
        (tmp_path / folder / f"{number}.tar").write_bytes(tar(samples(b"0", b"1")))
    monkeypatch.chdir(tmp_path / folder)
    fixed = absolute(place)
    places = [os.path.realpath(one.path) for one in expand(place)]
    monkeypatch.chdir(tmp_path)
    assert [os.path.realpath(one.path) for one in expand(fixed)] == places


@pytest.mark.parametrize("place", ["/a.tar", "file:/a.tar", "s3://a/b.tar", "{/a,/b}/c.tar", "http://a/{0..3}.tar?b=c"])
def test_a_place_that_is_absolute_stays_as_it_is(place):
    assert absolute(place) == place


def test_tars_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        lay(tmp_path / folder, samples(b"0", b"1"))
    source = WebDatasetShards(f"{tmp_path}/{{a,b}}/00000.tar")
    names = [entry.name for entry in entries(source)]
    assert names == ["a/00000.tar/0", "a/00000.tar/1", "b/00000.tar/0", "b/00000.tar/1"]
    assert source.folders == (str(tmp_path / "a"), str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{0}/none.tar", "none.tar is missing"),
        ("{0}/none*.tar", "nothing matches"),
        ("{0}", "is a folder; name the tars in it"),
        ("{0}/{{00000", "braces that do not pair"),
        ("{0}/00000.tar::{0}/00000.tar", "names .*00000.tar twice"),
        ("pipe:cat {0}/00000.tar", "is a command, and none is run"),
        ("nothing://x/00000.tar", "cannot be opened: Protocol not known"),
        ("memory://nowhere/00000.tar", "is missing"),
    ],
)
def test_a_place_that_is_none_is_named(tmp_path, place, message):
    lay(tmp_path, samples(b"0"))
    with pytest.raises(SourceError, match=message):
        WebDatasetShards(place.format(tmp_path))


def test_remote_tars_are_read_as_local_ones(tmp_path):
    tars = [samples(b"0", b"1", b"0"), [("a/b.jpg", bytes(10_000)), ("a/b.cls", b"1"), ("a/b.txt", b"words")]]
    local = WebDatasetShards(lay(tmp_path, *tars))
    memory = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    try:
        remotes = [WebDatasetShards(f"memory://bucket/{name}") for name in ("{00000..00001}.tar", "*.tar", "0000?.tar")]
        for remote in remotes:
            assert (remote.digest, remote.shards, remote.folders) == (local.digest, local.shards, ())
            for number in range(len(local)):
                assert remote.read(number) == local.read(number)
                assert remote.carried(number) == local.carried(number)
        memory.pipe("/bucket/00001.tar", b"short")
        with pytest.raises(RejectedImage, match=r"00001\.tar changed since it was indexed"):
            remotes[0].read(3)
        memory.rm("/bucket/00000.tar")
        with pytest.raises(RejectedImage, match=r"00000\.tar vanished"):
            remotes[0].read(0)
    finally:
        memory.rm("/bucket", recursive=True)


class Ranged(fsspec.spec.AbstractFileSystem):
    """A store that is asked for ranges, as those on the network are, and counts how often."""

    protocol = "ranged"
    asked: ClassVar[list[int]] = []

    def info(self, path, **options):
        return {"name": path, "type": "file", "size": os.path.getsize(self._strip_protocol(path))}

    def _open(self, path, mode="rb", **options):
        return RangedFile(self, self._strip_protocol(path), mode, **options)


class RangedFile(fsspec.spec.AbstractBufferedFile):
    def _fetch_range(self, start, end):
        Ranged.asked.append(end - start)
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read(end - start)


def test_a_store_is_asked_for_few_blocks_to_index_and_for_one_range_a_picture(tmp_path):
    fsspec.register_implementation("ranged", Ranged, clobber=True)
    big = [pair for i in range(40) for pair in ((f"{i}.jpg", os.urandom(300_000)), (f"{i}.cls", b"%d" % (i % 2)))]
    place = lay(tmp_path, big)
    local, remote = WebDatasetShards(place), WebDatasetShards(f"ranged://{place}")
    assert remote.digest == local.digest
    assert len(Ranged.asked) < 8, "twelve megabytes in blocks of four"
    Ranged.asked.clear()
    assert [remote.read(number) for number in range(40)] == [data for name, data in big if name.endswith("jpg")]
    assert len(Ranged.asked) == 40


def test_threads_read_at_once(tmp_path):
    files = [(f"{i}.{name}", b"%d" % i * (200 + i)) for i in range(200) for name in ("png",)]
    source = WebDatasetShards(lay(tmp_path, [pair for f in files for pair in (f, (f[0][:-3] + "cls", b"1"))]))
    start = threading.Barrier(4)

    def read(_):
        start.wait()
        return [source.read(number) for number in range(200)]

    with ThreadPoolExecutor(4) as pool:
        assert all(contents == [data for _, data in files] for contents in pool.map(read, range(4)))


def test_a_tar_that_vanishes_or_shrinks_rejects_its_pictures(tmp_path):
    source = WebDatasetShards(lay(tmp_path, samples(b"0", b"1")))
    (tmp_path / "00000.tar").write_bytes(b"short")
    with pytest.raises(RejectedImage, match="changed since it was indexed"):
        source.read(1)
    (tmp_path / "00000.tar").unlink()
    with pytest.raises(RejectedImage, match="vanished"):
        source.read(1)


def test_unsafe_names_links_and_devices_are_left_out_and_counted(tmp_path):
    def special(name, kind):
        header = tarfile.TarInfo(name)
        header.type, header.linkname = kind, "/etc/passwd"
        return header, b""

    files = [
        *samples(b"0", b"1"),
        special("1.txt", tarfile.SYMTYPE),
        special("1.key", tarfile.LNKTYPE),
        special("1.dev", tarfile.CHRTYPE),
        special("1.pipe", tarfile.FIFOTYPE),
        special("folder.d", tarfile.DIRTYPE),
        ("1.a b", b"x"),
        ("1.tëxt", b"x"),
        ("../up.png", b"x"),
        ("../up.cls", b"0"),
        ("/root.png", b"x"),
        ("a/../../b.png", b"x"),
        ("README", b"x"),
        (".hidden", b"x"),
        ("__meta__/x.json", b"{}"),
    ]
    source = WebDatasetShards(lay(tmp_path, files))
    assert [source.carried(number) for number in range(len(source))] == [{}] * 5
    assert reasons(source) == ["", "", *["its name is absolute or has .. in it"] * 3]
    shown = [entry.name for entry in entries(source)][2:]
    assert shown == ["00000.tar/%2E%2E/up.2", "00000.tar/%2Froot.3", "00000.tar/a/%2E%2E/%2E%2E/b.4"]
    assert source.remarks == (
        "10 files in tars are links, devices, sparse or have an unsafe or too long a name: they are left out",
        "3 files in tars belong to no sample: they are left out",
    )


def test_an_extension_too_long_for_a_header_is_left_out_and_counted(tmp_path):
    files = [*samples(b"0", b"1"), ("1." + "x" * 70, b"short enough"), ("1." + "x" * 71, b"too long")]
    source = WebDatasetShards(lay(tmp_path, files))
    assert (source.carried(0), source.carried(1)) == ({}, {"x" * 70: b"short enough"})
    assert reasons(source) == ["", ""]
    assert source.remarks[1:] == (
        "1 files in tars are links, devices, sparse or have an unsafe or too long a name: they are left out",
    )


def test_names_that_are_no_utf8_stay_unique_and_valid(tmp_path):
    names = [b"\xff".decode("utf-8", "surrogateescape"), "\\udcff", "new\nline", "spa ce", "ä" * 120]
    files = [(f"{name}.{kind}", data) for name in names for kind, data in (("png", b"p"), ("cls", b"0"))]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name, data in files:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    source = WebDatasetShards(lay(tmp_path, out.getvalue()))
    shown = [entry.name for entry in entries(source)]
    assert shown == ["00000.tar/\\udcff.0", *(f"00000.tar/{name}" for name in names[1:])]
    assert [source.read(number) for number in range(5)] == [b"p"] * 5


@pytest.mark.parametrize("cut", [100, 512, 1000, 1024, 1030, 2048, 3072])
def test_a_tar_that_was_cut_short_is_named_with_the_place(tmp_path, cut):
    whole = tar(samples(b"0", b"1"))
    with pytest.raises(SourceError, match=r"00000\.tar cannot be read as a tar at byte \d+: "):
        WebDatasetShards(lay(tmp_path, whole[:cut]))


def test_damage_in_the_middle_of_a_tar_is_not_taken_for_its_end(tmp_path):
    broken = bytearray(tar(samples(b"0", b"1")))
    broken[1024 + 5] ^= 0xFF
    with pytest.raises(SourceError, match="at byte 1024: a damaged header"):
        WebDatasetShards(lay(tmp_path, bytes(broken)))


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100, bytes(512 * 20), b"\x1f\x8b" + bytes(600)])
def test_what_is_no_tar_or_an_empty_one_is_an_error(tmp_path, data):
    with pytest.raises(SourceError):
        WebDatasetShards(lay(tmp_path, data))


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_compressed_tar_is_told_from_a_broken_one(tmp_path, mode):
    tarfile.open(tmp_path / "a.tar", mode).close()
    with pytest.raises(SourceError, match="is compressed; unpack it"):
        WebDatasetShards(str(tmp_path / "a.tar"))


def test_a_header_whose_size_is_negative_ends(tmp_path):
    whole = bytearray(tar(samples(b"0", b"1")))
    at = 1024
    whole[at + 124 : at + 136] = b"\xff" * 10 + b"\xf8\x00"  # base 256: −2048
    whole[at + 148 : at + 156] = b" " * 8
    whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
    with pytest.raises(SourceError, match="cannot be read as a tar at byte"):
        WebDatasetShards(lay(tmp_path, bytes(whole)))


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 5999), st.integers(1, 255)), min_size=1, max_size=4))
def test_no_flipped_bit_crashes_the_index(tmp_path_factory, flips):
    data = bytearray(tar([*samples(b"0", b"1"), ("2" * 200 + ".png", b"p"), ("2" * 200 + ".cls", b"1")]))
    for at, bits in flips:
        data[at] ^= bits
    folder = tmp_path_factory.mktemp("flipped")
    try:
        source = WebDatasetShards(lay(folder, bytes(data)))
    except SourceError:
        return
    for number, entry in enumerate(entries(source)):
        assert (entry.label is None) == bool(entry.reason)
        if not entry.reason:
            source.read(number)
