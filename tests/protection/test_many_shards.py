"""A collection of many shards: names of more digits, and files that list them. The limits are lowered for the tests."""

import hashlib
import json
import shutil

import mlcroissant
import pytest
from PIL import Image

import semshard
from semshard.shards import manifest_bytes, names, shard_lists
from semshard.sources.shapes import draw_shape
from tests.support.protection import protect
from tests.support.runs import public_bytes

QUICK = {"method": "sc", "shard_size": 3}
LIST = "manifest-00001.jsonl"


@pytest.fixture(scope="module")
def _limits():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "FEWEST", 6)
        patch.setattr(shard_lists, "MOST", 3)
        patch.setattr(shard_lists, "EACH", 4)
        yield


@pytest.fixture(scope="module")
def _many(_limits, _drawn, tmp_path_factory):
    home = tmp_path_factory.mktemp("many")
    shutil.copytree(_drawn, home / "images")
    protect(home, **QUICK)
    return home


@pytest.fixture
def many(_many, tmp_path):
    """Fourteen shards with numbers of six digits, listed in files of four, for this test alone."""
    home = tmp_path / "home"
    shutil.copytree(_many, home)
    run = home / "shards.ledger" / "run.json"
    run.write_text(run.read_text().replace(str(_many), str(home)))
    return home


def problems(shards, **options):
    return [f"{each.where}: {each.problem}" for each in semshard.audit(shards, **options).failures]


def test_every_command_works_on_many_shards(many):
    shards = many / "shards"
    assert sorted(path.name for path in shards.glob("*.tar")) == [f"{number:06d}.tar" for number in range(14)]
    assert sorted(path.name for path in shards.glob("manifest*")) == [
        *(f"manifest-0000{number}.jsonl" for number in range(4)), "manifest.json"
    ]  # fmt: skip
    assert problems(shards) == []
    assert semshard.status(shards).phase == "done"
    before = public_bytes(shards)
    assert protect(many, **QUICK).made == 0
    for path in (shards / "000007.tar", shards / LIST):
        path.unlink()
    assert {f"{path}: is missing" for path in ("000007.tar", LIST)} <= set(problems(shards))
    assert set(semshard.repair(shards).repaired) == {"000007.tar", LIST, "manifest.json"}
    assert public_bytes(shards) == before

    assert semshard.remove(shards, keys=["00000700001", "00001300000"]).shards == ("000007.tar", "000013.tar")
    assert problems(shards) == []
    assert public_bytes(shards)["manifest-00000.jsonl"] == before["manifest-00000.jsonl"]
    for number, name in enumerate(("a.png", "b.png")):
        Image.fromarray(draw_shape(7000 + 10 * number)).save(many / "images" / "ring" / name)
    assert protect(many, extend=True, **QUICK).made == 1
    assert problems(shards) == []
    manifest = json.loads((shards / "manifest.json").read_bytes())
    assert [entry["shards"] for entry in manifest["history"]][1] == ["000014.tar"]
    assert (manifest["schema_version"], manifest["counts"]["shards"], manifest["counts"]["samples"]) == (3, 15, 40)

    opened = semshard.open_shards(shards)
    assert sorted(opened.keys()) == opened.keys() == [sample.key for sample in opened]
    for to, name in (
        ("parquet", "train-000007-of-000015.parquet"),
        ("mds", "000007-00.mds"),
        ("dali-index", "000007.idx"),
    ):
        semshard.export(shards, many / to, to=to)
        assert (many / to / name).is_file()
    assert semshard.export(shards, many / "folder", to="folder").files == 40
    page = (shards / "README.md").read_text()
    assert "{000000..000014}.tar" in page
    assert "manifest-NNNNN.jsonl" in page


def test_a_changed_list_is_found_by_the_whole_and_by_the_part_that_needs_it(many):
    shards = many / "shards"
    path = shards / LIST
    path.write_bytes(path.read_bytes().replace(b'"samples":3', b'"samples":2', 1))
    what = f"{LIST}: {path} is not the file that manifest.json names"
    assert what in problems(shards)
    assert problems(shards, only="5") == [what]
    assert problems(shards, only="0-3") == []
    with pytest.raises(semshard.ShardError, match="is not the file that"):
        semshard.open_shards(shards)[13]


def test_a_part_is_held_against_the_root(many):
    """A list that was changed together with its bytes, SHA-256 and root in manifest.json, but not the root of all."""
    shards = many / "shards"
    records = semshard.open_shards(shards).records.read(1)
    manifest = json.loads((shards / "manifest.json").read_bytes())
    data = {}
    about = shard_lists.list_files([records[0] | {"psnr_mean": 99.0}, *records[1:]], data.__setitem__)["files"][0]
    (shards / LIST).write_bytes(data["manifest-00000.jsonl"])
    manifest["shard_lists"]["files"][1] = about | {"name": LIST}
    (shards / "manifest.json").write_bytes(manifest_bytes(manifest))
    found = problems(shards, only="5")
    assert "manifest.json: its root is not that of the record of 000005.tar" in found
    assert any(text.startswith("manifest.json: shard_lists.root is") for text in problems(shards))


def test_the_signature_covers_the_lists_and_so_the_shards(many, tmp_path_factory):
    keys = semshard.keygen(tmp_path_factory.mktemp("keys") / "owner", "a passphrase")
    shards = many / "shards"
    signed = semshard.sign(shards, keys.private, "a passphrase")
    assert signed.files == 5
    assert semshard.audit(shards, key=keys.public).ok
    assert semshard.audit(shards, key=keys.public, part="2/3").signature == "valid"
    records = [json.loads(line) for path in sorted(shards.glob("*.jsonl")) for line in path.read_bytes().splitlines()]
    assert [each["sha256"] for each in records] == [
        hashlib.sha256((shards / each["name"]).read_bytes()).hexdigest() for each in records
    ]
    (shards / "manifest.json").write_bytes((shards / "manifest.json").read_bytes() + b" ")
    assert "manifest.dsse.json: was made for another manifest.json" in problems(shards)


@pytest.mark.filterwarnings("ignore")  # mlcroissant's
def test_croissant_describes_shards_that_it_does_not_list(many):
    """Its reader unpacks no tars but those that are listed, so the card does not promise that it reads the samples."""
    shards = many / "shards"
    described = mlcroissant.Dataset(str(shards / "croissant.json"))
    assert not described.metadata.ctx.issues.errors
    assert len(list(described.records("classes"))) == 10
    assert {each["@id"] for each in json.loads((shards / "croissant.json").read_text())["distribution"]} == {
        "manifest.json", "tars", "pictures", "index", *(path.name for path in shards.glob("*.jsonl"))
    }  # fmt: skip
    assert "mlcroissant" not in (shards / "README.md").read_text()
