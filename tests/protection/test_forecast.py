"""The forecast: a few real steps here, as the workload of other machines."""

import json

import pytest

import semshard
from semshard import Cluster
from tests.support.command import semshard as program
from tests.support.runs import TINY

CALM = Cluster(1, stragglers=0.0, failures=0.0)
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]


@pytest.fixture(scope="module")
def foretold(_drawn):
    return semshard.forecast(_drawn, CALM, runs=2, **TINY)


def test_what_is_known_of_the_source_is_right(foretold, finished):
    assert (foretold.inputs, foretold.images, foretold.shards, foretold.classes) == (40, 40, 3, 10)
    assert (foretold.width, foretold.height) == (32, 32)
    shards = finished / "shards"
    written = sum(path.stat().st_size for pattern in ("*.tar", "*.parquet") for path in shards.glob(pattern))
    assert 0.5 < foretold.bytes_written / written < 2
    read = sum(path.stat().st_size for path in (finished / "images").rglob("*.png"))
    assert foretold.bytes_read == pytest.approx(read, rel=0.3)


def test_one_worker_takes_the_sum_of_what_was_measured(foretold):
    part, seconds = foretold.measured, foretold.seconds
    assert seconds["scan"].median == pytest.approx(40 * part["scan"])
    assert seconds["craft"].median == pytest.approx(40 * (part["craft"] + part["encode"]))
    assert seconds["surrogate"].median == part["surrogate"] > 0
    phases = ("start", "listing", "scan", "surrogate", "craft", "finish")
    assert seconds["total"].median == pytest.approx(sum(seconds[phase].median for phase in phases))
    assert foretold.cluster.start > 0
    assert foretold.assumed == ()


@pytest.mark.slow
def test_a_larger_source_elsewhere_and_quicker_machines_are_counted_from_the_same_steps(images):
    machines = Cluster(10, cores=2, speed=2.0, bandwidth=1e6, cost_per_hour=2.0)
    found = semshard.forecast(images, machines, images=4_000_000, runs=2, surrogate=None, **TINY)
    assert found.images == found.inputs == 4_000_000
    assert found.shards == 250_000
    assert found.measured["read"] == found.measured["scan"]  # 12 GB of pixels do not stay in memory
    assert found.bytes_read == pytest.approx(2 * 4e6 * found.measured["bytes_in"])
    assert found.seconds["craft"].median >= (4e6 * found.measured["bytes_in"] + found.bytes_written) / 1e6
    assert found.cost == pytest.approx(2 * found.worker_hours)
    assert found.cost_per_million == pytest.approx(found.cost / 4)
    assert any("0.001 GB/s" in sentence for sentence in found.assumed)


@pytest.mark.slow
def test_gpus_that_are_not_here_are_arithmetic_and_it_says_so(images):
    machines = Cluster(4, gpus=2, gpu_rates=(1e12, 1e15), gpu_share=0.5)
    settings = {**TINY, "final_steps": 1, "draws": 1, "views": "paper"}
    found = semshard.forecast(images, machines, runs=2, **settings)
    flop = semshard.plan(images, "nowhere", **settings).flop
    assert found.measured["craft"] == pytest.approx(flop["craft"] / 40 / 0.5e12)
    assert found.measured["surrogate"] == pytest.approx(flop["surrogate"] / 0.5e12)
    assert "arithmetic, not measured" in found.assumed[0]


@pytest.mark.slow
def test_the_rate_of_a_gpu_may_be_given(images):
    found = semshard.forecast(images, Cluster(4, gpus=2, gpu_images=500.0), runs=2, method="ntga", craft_batch=8)
    assert found.measured["craft"] == 1 / 500
    assert found.measured["surrogate"] == 0
    assert found.assumed[0] == "a GPU crafts 500 images/s, as given"


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        ({"workers": 2, "gpus": 3}, "3 GPUs for 2 workers"),
        ({"workers": 0}, "workers must be above 0"),
        ({"workers": 1, "bandwidth": 0.0}, "bandwidth must be above 0"),
        ({"workers": 1, "failures": -1.0}, "failures must not be below 0"),
        ({"workers": 1, "stragglers": 1.5}, "at most 1"),
    ],
)
def test_impossible_machines_are_refused(tmp_path, machines, message):
    with pytest.raises(semshard.SettingError, match=message):
        semshard.forecast(tmp_path, Cluster(**machines))


def test_operations_that_are_not_counted_have_to_be_given(images):
    with pytest.raises(semshard.SettingError, match="ntga are not counted"):
        semshard.forecast(images, Cluster(1, gpus=1), method="ntga", craft_batch=8, runs=1)


@pytest.mark.slow
def test_the_command_prints_one_json_object_or_a_table_and_writes_nothing(tmp_path, images):
    before = sorted(tmp_path.rglob("*"))
    result = json.loads(program("plan", images, "--json", "--workers=2", "--runs=2", *OPTIONS).stdout)
    assert sorted(tmp_path.rglob("*")) == before
    assert result["cluster"]["workers"] == 2
    assert result["cluster"]["bandwidth"] is None
    assert set(result["seconds"]["total"]) == {"low", "median", "high"}
    assert result["bottleneck"] in result["saved"]


@pytest.mark.slow
def test_the_command_draws_a_table(images):
    line = ["plan", images, "--cost-per-hour=3", "--failures=50", "--images=100000", "--runs=2", "--workers=2"]
    shown = program(*line, *OPTIONS).stdout
    for text in ("forecast for 2 workers of 1 core", "100,000 inputs", "bottleneck: ", "per million images", "total"):
        assert text in shown
    assert "not measured: a worker fails 50 times per hour" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_command_exits_with_2_for_machines_that_cannot_be(images):
    assert "3 GPUs for 2 workers" in program("plan", images, "--workers=2", "--gpus=3", expect=2).stderr
    assert "is not a share" in program("plan", images, "--stragglers=few", expect=2).stderr
