"""What travels to a cluster, who may take part, and what lost workers leave: all that needs no Ray."""

import pickle
import shutil
from dataclasses import replace

import pytest

import semshard
from semshard.errors import RunError, SettingError
from semshard.protection.batches import ShardWork
from semshard.protection.cluster import Entrance, left_behind, wait_until_seen
from semshard.protection.cluster import admission as admission_of
from semshard.protection.encoding import Recipe
from semshard.protection.noise import Crafting
from semshard.protection.output import Output
from semshard.protection.pipeline import ShardOrder, make_shard
from semshard.protection.protect import surrogate_of
from semshard.protection.request import Request
from semshard.protection.resume import open_run
from semshard.shards import done_stats, read_manifest
from semshard.sources.collection import Cache
from semshard.workers import WorkerOptions
from semshard.workers.admission import Nonce
from tests.support.runs import TINY, public_bytes


@pytest.fixture
def run(finished):
    """The finished run, opened again."""
    settings = {name: value for name, value in TINY.items() if name != "preset"}
    request = Request(finished / "images", TINY["preset"], settings=settings)
    source, output = request.open(), Output(finished / "shards")
    with output.ledger.locked():
        return open_run(source, request, request.runtime(), output, scan=None)


@pytest.fixture
def order(run, tmp_path):
    """An order as it travels, into other folders."""
    for name in ("out", "out.ledger"):
        (tmp_path / name).mkdir()
    craft, record = Crafting.of(run, surrogate_of(run)).with_weights(), {"made_on": {"device": "d", "torch": "t"}}
    recipe = Recipe(run.classes, run.fields)
    return ShardOrder(craft, run.config, recipe, tmp_path / "out", tmp_path / "out.ledger", record)


def work_of(run, shard):
    numbers = run.plan()[shard]
    return ShardWork(shard, run.collection.part(numbers, 0), range(len(numbers)))


def test_a_node_that_has_neither_ledger_nor_surrogate_makes_the_same_shard(run, order):
    import numpy as np

    expected = public_bytes(run.out)
    packed = pickle.dumps((order, work_of(run, 1)))
    shutil.rmtree(run.ledger.path)
    there, work = pickle.loads(packed)
    stats = make_shard(there, replace(work, numbers=np.arange(len(work.numbers))))
    made = public_bytes(order.out)
    assert {name[:5] for name in made} == {"00001"}
    assert made == {name: expected[name] for name in made}
    assert left_behind(order, work, mixed=False) == stats
    wait_until_seen(order.out, [stats], 5, patience=0)
    with pytest.raises(RunError, match=r"says that it made shard 1, but .* does not have it"):
        wait_until_seen(order.out, [replace(stats, sha256="0" * 64)], 5, patience=0)


def test_other_bytes_of_a_surrogate_are_refused(order):
    craft = pickle.loads(pickle.dumps(replace(order.craft, weights=order.craft.weights + b" ")))
    with pytest.raises(RunError, match="has changed"):
        craft()


def test_no_pixels_travel(run):
    """Those that are known are a hundred times as much as names and digests."""
    run.collection.cache = Cache()
    run.collection.several(run.plan()[0])
    assert run.collection.cache.get((int(run.plan()[0][0]), 0)) is not None
    assert len(pickle.dumps(work_of(run, 0))) < 16 * 3 * 32 * 32 / 5


def test_what_a_lost_worker_left_half_written_is_deleted_and_what_other_machines_had_finished_is_not_trusted(
    run, order
):
    shutil.copytree(run.out, order.out, dirs_exist_ok=True)
    half = order.out / ".00001.tar.semshard-tmp", order.out / ".00002.tar.semshard-tmp"
    for each in half:
        each.write_bytes(b"half")
    assert left_behind(order, work_of(run, 1), mixed=False) == done_stats(run.out, 1)
    assert [each.exists() for each in half] == [False, True]  # the other shard may be in another worker's hands
    assert left_behind(order, work_of(run, 1), mixed=True) is None
    assert done_stats(order.out, 1) is None


def admission(run, entrance, order, mixed=False):
    workers = WorkerOptions("ray", mixed_hardware=mixed)
    return admission_of(replace(run, request=replace(run.request, workers=workers)), entrance.describe(order))


@pytest.fixture
def entrance(run):
    nonce = Nonce(run.ledger.path / "nonce-0123abcd", "0123")
    nonce.path.write_text(nonce.text)
    return Entrance(nonce, run.collection.part(run.collection.usable[:1], 0), "cpu", False)


def test_a_node_is_admitted_that_sees_the_same_files_and_refused_where_it_does_not(run, order, entrance, tmp_path):
    at = admission(run, entrance, order)
    _, hello = pickle.loads(pickle.dumps(entrance))(order)
    at.check(hello, "10.0.0.7")
    (tmp_path / "nonce").write_text("of an old copy")
    for elsewhere in (tmp_path / "nonce", tmp_path / "missing" / "nonce"):
        other = replace(entrance, nonce=replace(entrance.nonce, path=elsewhere))
        with pytest.raises(SettingError, match=r"node 10\.0\.0\.7 does not see the files in .*shards\.ledger"):
            at.check(other(order)[1], "10.0.0.7")
    shutil.rmtree(run.collection.source.folders[0])
    with pytest.raises(SettingError, match=r"10\.0\.0\.7 cannot read .*images"):
        at.check(entrance(order)[1], "10.0.0.7")


def test_a_machine_whose_bytes_would_differ_is_refused_unless_that_is_wanted(run, order, entrance):
    hello = entrance.describe(order)
    with pytest.raises(
        SettingError, match=r"has device GPU X, not .*: its results may differ. .* or give --mixed-hardware"
    ):
        admission(run, entrance, order).check({**hello, "device": "GPU X"}, "n")
    admission(run, entrance, order, mixed=True).check({**hello, "device": "GPU X", "torch": "9"}, "n")
    for name in ("semshard", "opencv", "pillow", "numpy", "python"):
        with pytest.raises(SettingError, match=f"has {name} 0, not .* install the same everywhere"):
            admission(run, entrance, order, mixed=True).check({**hello, name: "0"}, "n")


def test_on_mixed_hardware_the_ledger_says_who_made_a_shard_and_the_manifest_names_all(finished, run, order, entrance):
    there, hello = replace(entrance, mixed=True)(order)
    assert there.record["made_on"] == {"device": hello["device"], "torch": hello["torch"]}
    assert entrance(order)[0].record == order.record
    ledger, before = run.ledger, read_manifest(run.out)
    record = ledger.record(1)
    record["made_on"] = {"device": "GPU X", "torch": before["made_on"]["torch"]}
    ledger.write_shard(1, ledger.shard(1), record)
    (run.out / "manifest.json").unlink()
    semshard.protect(finished / "images", run.out, **TINY)
    after = read_manifest(run.out)
    assert after["made_on"]["device"] == "; ".join(sorted(["GPU X", before["made_on"]["device"]]))
    assert after["made_on"]["torch"] == before["made_on"]["torch"]
    assert semshard.audit(run.out).ok


def test_options_that_do_not_go_together_are_refused_before_the_scan(images, tmp_path):
    with pytest.raises(SettingError, match="are for --engine ray"):
        semshard.protect(images, tmp_path / "out", workers=WorkerOptions(retries=1), **TINY)
    assert not (tmp_path / "out.ledger").exists()
    with pytest.raises(SettingError, match="one kind: leave --mixed-hardware out"):
        semshard.protect(
            images, tmp_path / "out", extend=True, workers=WorkerOptions("ray", mixed_hardware=True), **TINY
        )


def test_what_a_killed_driver_left_is_gone_when_the_run_is_finished(finished):
    left = finished / "shards.ledger" / "nonce-0123abcd"
    left.write_text("0123abcd")
    semshard.protect(finished / "images", finished / "shards", **TINY)
    assert not left.exists()
