"""Sources that another process opens anew or by a descriptor: their shards are the same by processes as by one."""

import os
import warnings
import zipfile

import pytest

import semshard
from semshard.shards import Ledger, ledger_path
from tests.support.runs import TINY, public_bytes
from tests.support.servers import served
from tests.support.workers import processes, workers_of

SMALL = TINY | {"shard_size": 8}


def made(source, folder):
    """What this process and two others make of a source: public bytes and ledger rows; two others did work."""
    found, seen = [], []
    for count in (1, 2):
        out, most, others = folder / f"out{count}", [0], set(workers_of(os.getpid()))

        def look(event, most=most, others=others):
            assert "this process only" not in event.message
            most.append(len(set(workers_of(os.getpid())) - others) * (event.phase == "craft"))

        with processes(count):
            shards = semshard.protect(source, out, progress=look, **SMALL).shards
        rows = [row for shard in range(shards) for row in Ledger(ledger_path(out)).shard(shard)]
        found.append((public_bytes(out), rows))
        seen.append(max(most))
    assert seen == [0, 2]
    assert all(row.reason is None for row in found[0][1])
    return found


@pytest.mark.slow
def test_a_web_server_is_read_by_processes(images, tmp_path):
    pytest.importorskip("aiohttp", reason="https:// needs aiohttp, an extra of fsspec")
    with served(images) as url:
        one, two = made(url, tmp_path)
    assert one == two


@pytest.mark.slow
def test_a_zip_is_read_by_processes(images, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(images.rglob("*.png")):
            archive.write(path, path.relative_to(images))
    one, two = made(f"zip://::{tmp_path}/x.zip", tmp_path)
    assert one == two


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "parquet", "saved"])
def test_a_dataset_of_hugging_face_is_read_by_processes(images, tmp_path, kind, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # read when the library is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own imports
        datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    place = images
    if kind != "folder":
        place = tmp_path / "dataset"
        rows = [
            ({"bytes": path.read_bytes(), "path": None}, path.parent.name) for path in sorted(images.rglob("*.png"))
        ]
        names = datasets.ClassLabel(names=sorted({name for _, name in rows}))
        features = datasets.Features({"image": datasets.Image(), "label": names})
        pictures, labels = zip(*rows, strict=True)
        dataset = datasets.Dataset.from_dict({"image": pictures, "label": names.str2int(labels)}, features=features)
        if kind == "saved":
            dataset.save_to_disk(place)
        else:
            place.mkdir()
            dataset.to_parquet(place / "train.parquet")
    one, two = made(f"hf:{place}", tmp_path)
    assert one == two
