"""Whatever damaged bytes make a library raise becomes a `ShardError`, in an audit a failure, that names the file."""

import json
import struct

import pytest

import semshard
from tests.support.tars import rewrite
from tests.support.verification import QUICK


def names_of(home):
    result = semshard.audit(home / "shards")
    assert not result.ok
    return {failure.where for failure in result.failures}


def change(path, data):
    path.write_bytes(data(path.read_bytes()) if callable(data) else data)


MANIFESTS = [
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a": ' * 100_000,
    b"[1]",
    b'{"schema_version": 1' + b"0" * 5000 + b"}",
]


@pytest.mark.parametrize("data", MANIFESTS, ids=range(len(MANIFESTS)))
def test_a_damaged_manifest(finished, data, tmp_path):
    change(finished / "shards" / "manifest.json", data)
    assert names_of(finished) == {"manifest.json"}
    for command in (
        semshard.open_shards,
        lambda shards: semshard.preview(shards, tmp_path / "p.png"),
        lambda shards: semshard.verify(shards, **QUICK),
    ):
        with pytest.raises(semshard.ShardError, match=r"manifest\.json"):
            command(finished / "shards")


@pytest.mark.parametrize("value", ["1.2.3/255", "99999/255"])
def test_a_budget_that_cannot_be_read(finished, value):
    path = finished / "shards" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["settings"]["rho_u"] = value
    change(path, json.dumps(manifest).encode())
    assert "manifest.json" in names_of(finished)


@pytest.mark.parametrize("name", ["00001.parquet", "00001_stats.json", "00001.tar"])
def test_files_of_noise(finished, name):
    for data in (b"", b"PAR1", b"\xff" * 4000, b"{}", b"null", b"[[[["):
        change(finished / "shards" / name, data)
        assert name in names_of(finished)


@pytest.mark.slow
def test_every_byte_of_a_parquet_footer(finished):
    path = finished / "shards" / "00001.parquet"
    whole = path.read_bytes()
    footer = 8 + struct.unpack("<I", whole[-8:-4])[0]
    for at in range(len(whole) - footer, len(whole), 29):
        for value in (0, 0x80, 0xFF):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            if path.read_bytes() != whole:
                assert "00001.parquet" in names_of(finished)


FIELDS = {
    "json": [
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 99_999,
        b'{"class":1,"width":[],"height":{},"linf":"x","sha256":0}',
    ],
    "cls": [b"", b"x", b"1_0", b"9" * 5000, b"\xd9\xa3", b" 3"],
    "png": [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"],
}


@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_a_sample(finished, field, tmp_path):
    for data in FIELDS[field]:
        rewrite(
            finished / "shards" / "00001.tar",
            lambda entry, old, data=data: (entry, data if entry.name == f"0000100003.{field}" else old),
        )
        assert "00001.tar" in names_of(finished)
        with pytest.raises(semshard.ShardError, match=r"00001\.tar"):
            semshard.verify(finished / "shards", **QUICK)
        if data not in (b"1_0", b"\xd9\xa3", b" 3", b"null", b"[]", b"{}"):  # these can be read, but are not ours
            shards = semshard.open_shards(finished / "shards")
            if field != "json" or not data.startswith(b"{"):
                with pytest.raises(semshard.ShardError, match=r"00001\.tar, sample 3"):
                    shards[19]


def test_an_absurd_size_in_a_tar_takes_no_memory(finished):
    path = finished / "shards" / "00001.tar"
    data = bytearray(path.read_bytes())
    data[124:136] = b"\x80" + (1 << 62).to_bytes(11)
    total = sum(data[:148]) + 8 * 32 + sum(data[156:512])
    data[148:156] = b"%06o\0 " % total
    change(path, bytes(data))
    assert "00001.tar" in names_of(finished)
    with pytest.raises(semshard.ShardError, match=r"00001\.tar"):
        list(semshard.open_shards(finished / "shards"))


@pytest.mark.parametrize("name", ["run.json", "published.json", "index.json", "index/00000.parquet", "00001.parquet"])
@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"null", b"[" * 99_999])
def test_a_damaged_ledger(finished, name, data):
    change(finished / "shards.ledger" / name, data)
    assert names_of(finished) == {"ledger"}


def test_names_that_a_terminal_cannot_show(finished):
    (finished / "shards" / b"a\xff\x1b[2J".decode("utf-8", "surrogateescape")).write_bytes(b"")
    [failure] = semshard.audit(finished / "shards").failures
    assert failure.where.isprintable()
    failure.where.encode()
