"""The audit: whatever is changed in a finished output, it is found and named."""

import io
import json
import shutil

import pyarrow.parquet as pq
import pytest
from PIL import Image

import semshard
from semshard.sources.shapes import write_shapes
from tests.support.runs import TINY
from tests.support.tars import rewrite


def problems(home, **options):
    result = semshard.audit(home / "shards", **options)
    assert result.ok == (not result.failures)
    return "\n".join(f"{f.where} {f.key}: {f.problem}" for f in result.failures)


def test_an_untouched_output_passes(finished):
    content = semshard.audit(finished / "shards").to_json()
    remainder = content.pop("remainder")
    assert content == {
        "ok": True,
        "checked": 40,
        "compared": 40,
        "shards": 3,
        "linf_max": 8,
        "failures": [],
        "signature": "none",
        "part": None,
    }
    assert (remainder["radius"], remainder["samples"]) == (2, 40)


def test_without_originals_the_bytes_are_still_checked(finished):
    shutil.rmtree(finished / "shards.ledger")
    result = semshard.audit(finished / "shards")
    assert (result.ok, result.checked, result.compared, result.linf_max) == (True, 40, 0, None)


def test_originals_given_instead_of_the_ledger_are_found_by_their_pixels(finished):
    shutil.rmtree(finished / "shards.ledger")
    assert semshard.audit(finished / "shards", clean=finished / "images").compared == 40


def test_originals_that_moved_are_found_with_the_ledger(finished):
    shutil.move(finished / "images", finished / "moved")
    with pytest.raises(semshard.SourceError, match="there is no folder"):
        problems(finished)
    assert semshard.audit(finished / "shards", clean=finished / "moved").compared == 40


def test_foreign_originals_are_refused(finished, tmp_path):
    shutil.rmtree(finished / "shards.ledger")
    write_shapes(tmp_path / "others", 20, seed=5)
    with pytest.raises(semshard.SourceError, match="no original"):
        semshard.audit(finished / "shards", clean=tmp_path / "others")


@pytest.mark.parametrize("name", ["00001.tar", "00001.parquet", "00001_stats.json"])
def test_a_missing_file_is_found(finished, name):
    (finished / "shards" / name).unlink()
    assert f"{name} : is missing" in problems(finished)


def test_no_manifest_is_an_error(finished):
    (finished / "shards" / "manifest.json").unlink()
    with pytest.raises(semshard.ShardError, match=r"holds no manifest\.json"):
        problems(finished)


@pytest.mark.parametrize("name", ["00001.tar", "00001.parquet"])
@pytest.mark.parametrize("place", [0.3, 0.6])
def test_a_flipped_byte_is_found(finished, name, place):
    path = finished / "shards" / name
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)
    assert f"{name} : has another SHA-256" in problems(finished)


def test_a_truncated_tar_is_found(finished):
    path = finished / "shards" / "00001.tar"
    path.write_bytes(path.read_bytes()[:20_000])
    found = problems(finished)
    assert "00001.tar : has 20000 bytes" in found
    assert "the manifest says 16" in found


def test_a_lost_sample_is_found(finished):
    rewrite(finished / "shards" / "00001.tar", lambda e, d: None if e.name.startswith("0000100003") else (e, d))
    found = problems(finished)
    assert "0000100003: is only in the parquet file" in found
    assert "manifest.json : counts 40 samples, found 39" in found
    assert "ledger 0000100003: is only in the ledger" in found


def test_a_lost_field_is_found(finished):
    rewrite(finished / "shards" / "00001.tar", lambda e, d: None if e.name == "0000100003.cls" else (e, d))
    assert "0000100003: lacks cls" in problems(finished)


def test_a_wrong_label_is_found(finished):
    rewrite(finished / "shards" / "00001.tar", lambda e, d: (e, b"99" if e.name == "0000100003.cls" else d))
    assert "0000100003: label 99" in problems(finished)


def test_changed_pixels_are_found(finished):
    def brighter(entry, data):
        if entry.name == "0000100003.png":
            file = io.BytesIO()
            Image.open(io.BytesIO(data)).point(lambda value: min(255, value + 30)).save(file, "PNG")
            data = file.getvalue()
        return entry, data

    rewrite(finished / "shards" / "00001.tar", brighter)
    found = problems(finished)
    assert "0000100003: the pixels have another SHA-256" in found
    assert "the budget is 8/255" in found


def test_a_clean_image_in_the_public_folder_is_found(finished):
    from semshard.shards import Ledger, ledger_path

    row = Ledger(ledger_path(finished / "shards")).shard(1)[3]
    clean = (finished / "images" / row.source).read_bytes()
    rewrite(finished / "shards" / "00001.tar", lambda e, d: (e, clean if e.name == f"{row.key}.png" else d))
    assert f"{row.key}: is the clean original" in problems(finished)


def test_headers_that_name_the_maker_are_found(finished):
    def signed(entry, data):
        entry.uname, entry.mtime = "somebody", 1_700_000_000
        return entry, data

    rewrite(finished / "shards" / "00001.tar", signed)
    assert "holds more than it should: uname, mtime" in problems(finished)


@pytest.mark.parametrize("name", ["surrogate.safetensors", "notes.txt", ".DS_Store", "00007.tar"])
def test_files_that_do_not_belong_are_found(finished, name):
    (finished / "shards" / name).write_bytes(b"x")
    assert f"{name} : " in problems(finished)


def test_entries_that_do_not_belong_are_found(finished):
    def renamed(entry, data):
        if entry.name == "0000100003.json":
            entry.name = "../../etc/passwd"
        return entry, data

    rewrite(finished / "shards" / "00001.tar", renamed)
    assert "'../../etc/passwd' does not belong here" in problems(finished)
    assert not (finished.parent / "etc").exists()


def test_a_path_in_the_manifest_is_found(finished):
    path = finished / "shards" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tool"]["version"] = "/home/somebody/disc"
    path.write_text(json.dumps(manifest))
    assert "holds a path: '/home/somebody/disc'" in problems(finished)


def test_classes_may_be_called_like_paths(tmp_path):
    write_shapes(tmp_path / "images", 6)
    table = tmp_path / "labels.csv"
    names = sorted(path.relative_to(tmp_path / "images") for path in (tmp_path / "images").rglob("*.png"))
    rows = [f"{path},/m/0{number % 2}g3/x" for number, path in enumerate(names)]
    table.write_text("\n".join(["path,label", *map(str, rows)]) + "\n")
    options = semshard.SourceOptions(labels=str(table))
    semshard.protect(tmp_path / "images", tmp_path / "shards", options=options, **TINY | {"method": "sc"})
    assert semshard.open_shards(tmp_path / "shards").classes == ("/m/00g3/x", "/m/01g3/x")
    assert problems(tmp_path) == ""


def test_what_the_hub_puts_into_every_copy_is_passed_over(finished):
    (finished / "shards" / ".gitattributes").write_text("*.tar filter=lfs")
    (finished / "shards" / ".cache" / "huggingface").mkdir(parents=True)
    (finished / "shards" / ".cache" / "huggingface" / "a.lock").write_text("")
    assert problems(finished) == ""


def test_a_part_without_a_sample_passes(finished):
    keys = [sample.key for sample in semshard.open_shards(finished / "shards") if sample.key.startswith("00001")]
    semshard.remove(finished / "shards", keys=keys)
    assert semshard.audit(finished / "shards", only="1").failures == []
    assert semshard.audit(finished / "shards").failures == []
    semshard.remove(finished / "shards", keys=[sample.key for sample in semshard.open_shards(finished / "shards")])
    assert semshard.audit(finished / "shards").failures == []
    with pytest.raises(semshard.ShardError, match="holds no sample"):
        semshard.preview(finished / "shards", finished / "preview.png")


def test_no_preview_goes_among_shards(finished):
    with pytest.raises(semshard.OutputError, match="which is published"):
        semshard.preview(finished / "shards", finished / "shards" / "preview.png")
    assert problems(finished) == ""


def test_a_manifest_with_more_than_its_schema_is_refused(finished):
    path = finished / "shards" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["seed"] = 7
    path.write_text(json.dumps(manifest))
    assert "'seed' was unexpected" in problems(finished)
    with pytest.raises(semshard.ShardError, match="'seed' was unexpected"):
        semshard.open_shards(finished / "shards")


def test_a_parquet_that_differs_is_found(finished):
    path = finished / "shards" / "00001.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[3]["linf"] = 1
    pq.write_table(pq.read_table(path).from_pylist(rows, pq.read_schema(path)), path)
    assert "0000100003: the parquet row differs from" in problems(finished)


def test_a_ledger_that_others_can_read_is_found(finished):
    (finished / "shards.ledger").chmod(0o755)
    assert "can be opened by others" in problems(finished)


def test_an_input_that_is_not_accounted_for_is_found(finished):
    from semshard.shards import Ledger, ledger_path

    ledger = Ledger(ledger_path(finished / "shards"))
    ledger.write_shard(1, ledger.shard(1)[:-1])
    found = problems(finished)
    assert "40 inputs, but 39 are accounted for" in found
    assert "is only in the shards" in found
