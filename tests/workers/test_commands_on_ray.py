"""Audit, verify, sweep and reproduce on a Ray cluster: what they find is what a local run finds, whatever is killed."""

import json
import os
import signal

import pytest

import semshard
from semshard.verification.request import VerifyRequest
from semshard.verification.verify import run_verify
from semshard.workers import WorkerOptions
from tests.support.ray_cluster import actors_of, ray_cluster
from tests.support.reproduction import SMALL, VICTIM
from tests.support.runs import TINY
from tests.support.verification import PLAIN, RECIPE

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Ray, which is not ours


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def ray(cluster):
    """Makes options for so many actors on the cluster."""
    return lambda workers: WorkerOptions("ray", workers, cluster.address)


@pytest.fixture(params=["local", "ray"])
def two(request, ray):
    """Options for two workers."""
    return ray(2) if request.param == "ray" else WorkerOptions(workers=2)


def kill_one(cluster):
    """Kill an actor without a word; returns whether there was one."""
    numbers = [number for node in cluster.worker_nodes for number in actors_of(node)]
    if numbers:
        os.kill(numbers[0], signal.SIGKILL)
    return bool(numbers)


def without_times(found):
    """The figures of a result, of which only seconds and folders may differ."""

    def stripped(value):
        if isinstance(value, dict):
            return {name: stripped(each) for name, each in value.items() if name not in ("seconds", "report", "out")}
        return [stripped(each) for each in value] if isinstance(value, list) else value

    return stripped(json.loads(json.dumps(found.to_json())))


def test_an_audit_finds_the_same_though_a_worker_dies(finished, cluster, ray):
    shards, remarks = finished / "shards", []
    data = bytearray((shards / "00001.tar").read_bytes())
    data[len(data) // 3] ^= 1
    (shards / "00001.tar").write_bytes(data)
    alone = semshard.audit(shards)
    assert not alone.ok
    killed = []

    def watch(event):
        remarks.append(event.message)
        if event.unit == "shards" and not killed and kill_one(cluster):
            killed.append(event.done)

    assert semshard.audit(shards, workers=ray(1), progress=watch).to_json() == alone.to_json()
    assert killed == [1]
    assert any("a worker was lost with shard" in remark for remark in remarks)


def test_relative_paths_are_those_of_the_driver(finished, ray, monkeypatch):
    monkeypatch.chdir(finished)
    assert semshard.audit("shards", clean="images", workers=ray(2)).compared == 40


def test_a_victim_goes_on_from_its_checkpoint_on_another_worker_and_reaches_the_same(finished, cluster, ray, tmp_path):
    settings = {**RECIPE, "rho_a": "0", "steps": 120}
    alone = semshard.verify(finished / "shards", preset="quick", report=tmp_path / "alone", **settings)
    killed, after = [], []

    def watch(event):
        if event.unit == "steps" and not killed and event.done < event.total / 2 and kill_one(cluster):
            killed.append(event)
        elif killed and event.unit == "steps" and event.phase == killed[0].phase:
            after.append(event.done)

    request = VerifyRequest(
        finished / "shards", preset="quick", report=tmp_path / "ray", progress=watch, settings=settings,
        given_workers=ray(1), autosave_seconds=0,
    )  # fmt: skip
    found = run_verify(request)
    assert killed
    assert min(after) >= killed[0].done, "what was done is not done again"
    assert max(after) == 120
    assert without_times(found) == without_times(alone)
    assert {path.name for path in (tmp_path / "ray").iterdir()} == {
        "report.html", "report.intoto.json", "report.json", "victims.json"
    }  # fmt: skip


def swept(images, out, workers):
    given = {setting: value for setting, value in TINY.items() if setting != "final_steps"}
    victim = {**VICTIM, "rho_a": ["0", "2/255"]}
    return semshard.sweep(images, out, "final_steps", [1, 2], victim=victim, workers=workers, **given)


@pytest.fixture(scope="module")
def swept_alone(_drawn, tmp_path_factory):
    home = tmp_path_factory.mktemp("swept")
    return home, swept(_drawn, home, None)


def test_a_sweep_by_several_workers_is_the_same(images, two, swept_alone, tmp_path):
    home, alone = swept_alone
    assert len(alone.cells) == 6
    several = swept(images, tmp_path / "several", two)
    assert without_times(several) == without_times(alone)
    here, there = (out / "final_steps=2" / "00000.tar" for out in (home, tmp_path / "several"))
    assert here.read_bytes() == there.read_bytes()


def table(images, out, workers):
    cells = ("SEM:4/255", "Clean Data:4/255", "SC:4/255")
    return semshard.reproduce(
        "table2", images, out, cells=cells, protection=SMALL, device="cpu", workers=workers, **VICTIM
    )


@pytest.fixture(scope="module")
def table_alone(_drawn, tmp_path_factory):
    home = tmp_path_factory.mktemp("table")
    return home, table(_drawn, home, None)


def test_a_table_by_several_workers_is_the_same(images, two, table_alone, tmp_path):
    home, alone = table_alone
    several = table(images, tmp_path / "several", two)
    assert [(cell.row, cell.ours, cell.best) for cell in several.cells] == [
        (cell.row, cell.ours, cell.best) for cell in alone.cells
    ]
    journals = [json.loads((out / "record.json").read_text()) for out in (home, tmp_path / "several")]
    assert journals[0]["cells"] == journals[1]["cells"]
    assert journals[0]["parts"].keys() == journals[1]["parts"].keys()


def test_what_only_one_process_does_is_refused(images, finished, ray, tmp_path):
    with pytest.raises(semshard.SettingError, match="minutes and state are for one victim after the other"):
        semshard.reproduce("table2", images, tmp_path / "out", minutes=1, workers=ray(2))
    mixed = WorkerOptions("ray", mixed_hardware=True)
    with pytest.raises(semshard.SettingError, match="mixed-hardware is for making shards"):
        semshard.audit(finished / "shards", workers=mixed)
    with pytest.raises(semshard.SettingError, match="mixed-hardware is for making shards"):
        semshard.verify(finished / "shards", report=tmp_path / "report", workers=mixed, **PLAIN)
