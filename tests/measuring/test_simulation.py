"""Simulated runs, held against arithmetic that needs no simulation, and against each other."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semshard.measuring.simulation import (
    PLAYED,
    Cluster,
    Workload,
    shard_seconds,
    simulate,
    simulate_several,
)

WORK = Workload(
    inputs=5_050, images=5_000, shard_size=100, listing=1e-4, scan=2e-3, surrogate=70.0, repeated=0.03, read=1e-3,
    craft=0.02, encode=4e-3, finish=0.01, bytes_in=2_000.0, bytes_out=3_000.0,
)  # fmt: skip
QUIET = Cluster(workers=1, stragglers=0.0, failures=0.0, start=0.0)
ROUGH = replace(QUIET, stragglers=0.1, failures=20.0, preemptions=20.0, start=5.0, replacement=60.0)


def mean(work, cluster, runs=20):
    return sum(simulate(work, cluster, seed).total for seed in range(runs)) / runs


@st.composite
def workloads(draw):
    images = draw(st.integers(1, 3_000))
    seconds = st.floats(0, 0.1)
    return Workload(
        inputs=images + draw(st.integers(0, 100)), images=images, shard_size=draw(st.integers(1, 200)),
        scan=draw(seconds), surrogate=draw(st.floats(0, 100)), read=draw(seconds), craft=draw(seconds),
        encode=draw(seconds), finish=draw(seconds), bytes_out=draw(st.floats(0, 1e4)),
    )  # fmt: skip


@given(work=workloads())
def test_one_worker_without_failures_takes_the_sum_of_the_parts(work):
    run = simulate(work, replace(QUIET, bandwidth=1e6), 0)
    craft = work.images * (work.read + work.craft + work.encode + work.bytes_out / 1e6)
    parts = work.inputs * work.scan + work.surrogate + craft + work.shards * work.finish
    assert run.total == pytest.approx(parts)
    assert (run.made, run.lost) == (work.shards, 0)


@given(work=workloads(), workers=st.integers(1, 40), cores=st.integers(1, 8))
def test_equal_workers_make_equal_shards_in_rounds(work, workers, cores):
    work = replace(work, images=-(-work.images // work.shard_size) * work.shard_size)
    cluster = replace(QUIET, workers=workers, cores=cores)
    rounds = math.ceil(work.shards / workers)
    assert simulate(work, cluster, 0).craft == pytest.approx(rounds * shard_seconds(work, cluster))


def test_rounds_are_counted_for_very_many_shards_too():
    work = replace(WORK, images=100 * (3 * PLAYED + 7))
    cluster = replace(QUIET, workers=9)
    assert simulate(work, cluster, 0).craft == pytest.approx(math.ceil((3 * PLAYED + 7) / 9) * 2.5)


@settings(max_examples=40)
@given(work=workloads(), workers=st.integers(1, 30), more=st.integers(1, 30), seed=st.integers(0, 9))
def test_more_workers_are_never_slower(work, workers, more, seed):
    few = replace(QUIET, workers=workers, stragglers=0.3)
    many = replace(few, workers=workers + more)
    assert simulate(work, many, seed).total <= simulate(work, few, seed).total * (1 + 1e-9)


@pytest.mark.parametrize("workers", [2, 5, 40])
def test_more_workers_are_not_slower_in_the_mean_where_they_fail(workers):
    few = replace(ROUGH, workers=workers)
    assert mean(WORK, replace(few, workers=2 * workers)) < mean(WORK, few)


@pytest.mark.parametrize("workers", [1, 3, 16, 100])
@pytest.mark.parametrize("name", ["failures", "preemptions", "stragglers"])
def test_what_goes_wrong_only_adds_time(workers, name):
    calm = replace(QUIET, workers=workers, start=3.0, replacement=60.0)
    some, many = (replace(calm, **{name: value}) for value in ((0.1, 0.4) if name == "stragglers" else (2.0, 40.0)))
    means = [mean(WORK, each) for each in (calm, some, many)]
    assert means == sorted(means)
    assert means[2] > means[0]


@settings(max_examples=40)
@given(work=workloads(), workers=st.integers(1, 50), seed=st.integers(0, 99))
def test_every_shard_is_made_once_whatever_is_lost(work, workers, seed):
    run = simulate(work, replace(ROUGH, workers=workers), seed)
    assert run.made == work.shards
    assert run.lost >= 0
    assert run == simulate(work, replace(ROUGH, workers=workers), seed)


def test_the_lost_shards_are_as_many_as_the_rate_says():
    """A shard of 2.5 seconds at 40 failures per hour is lost 40 · 2.5 / 3600 times on the way, nearly."""
    cluster = replace(QUIET, workers=10, failures=40.0)
    lost = sum(simulate(WORK, cluster, seed).lost for seed in range(200)) / 200
    expected = WORK.shards * math.expm1(40 * shard_seconds(WORK, cluster) / 3600)
    assert lost == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    "machines",
    [
        {"stragglers": 0.1},
        {"stragglers": 0.1, "bandwidth": 1e6},
        {"failures": 40.0, "start": 5.0},
        {"preemptions": 20.0, "replacement": 10.0},
    ],
)
@pytest.mark.parametrize("workers", [1, 200])
def test_very_many_shards_take_as_long_as_where_all_are_played(monkeypatch, workers, machines):
    work, cluster = replace(WORK, images=100 * 9_000), replace(QUIET, workers=workers, **machines)
    played = [simulate(work, cluster, seed) for seed in range(6)]
    monkeypatch.setattr("semshard.measuring.simulation.PLAYED", 1_000)
    quick = [simulate(work, cluster, seed) for seed in range(6)]
    for name in ("craft", "lost"):
        mean, other = (sum(getattr(run, name) for run in runs) / 6 for runs in (played, quick))
        assert other == pytest.approx(mean, rel=0.02 if name == "craft" else 0.1)


def test_no_more_is_written_than_the_storage_takes():
    work, cluster = replace(WORK, read=0.0), replace(QUIET, workers=1_000, bandwidth=1e5)
    written = work.images * work.bytes_out / 1e5
    assert written <= simulate(work, cluster, 0).craft <= written + shard_seconds(work, cluster) + 1e-9


def test_a_shared_gpu_is_shared_and_cores_beside_it_work_at_the_same_time():
    alone = replace(QUIET, workers=4, gpus=4)
    assert shard_seconds(WORK, alone) == pytest.approx(100 * WORK.craft)
    assert shard_seconds(WORK, replace(alone, gpus=1)) == pytest.approx(4 * 100 * WORK.craft)
    assert shard_seconds(replace(WORK, craft=1e-4), alone) == pytest.approx(100 * (WORK.read + WORK.encode))


def test_the_surrogate_on_several_devices_repeats_a_part_of_its_step():
    assert simulate(WORK, replace(QUIET, surrogate_devices=8), 0).surrogate == pytest.approx(70 * (0.03 + 0.97 / 8))


@pytest.mark.parametrize(
    ("changed", "machines", "bottleneck"),
    [
        ({"surrogate": 7.0}, {}, "cores"),
        ({"surrogate": 7_000.0}, {}, "surrogate"),
        ({"craft": 0.5}, {"gpus": 4}, "GPUs"),
        ({"listing": 1.0}, {}, "listing"),
        ({"scan": 0.5}, {}, "reading"),
        ({"bytes_out": 1e6}, {"bandwidth": 1e6}, "writing"),
        ({"finish": 10.0, "shard_size": 500}, {"workers": 10}, "finish"),
        ({"shard_size": 5_000, "surrogate": 0.0}, {"workers": 50}, "shard size"),
        ({"surrogate": 0.0}, {"workers": 50, "stragglers": 0.5}, "stragglers"),
        ({"surrogate": 0.0}, {"preemptions": 1e3, "replacement": 600.0}, "failures"),
    ],
)
def test_the_bottleneck_is_what_would_save_most(changed, machines, bottleneck):
    found = simulate_several(replace(WORK, **changed), replace(QUIET, **{"workers": 4, **machines}), runs=4)
    assert found.bottleneck == bottleneck
    assert found.saved[bottleneck] > 0


def test_a_tenth_is_below_and_a_tenth_above():
    found = simulate_several(WORK, replace(ROUGH, workers=8), runs=30)
    for spread in found.seconds.values():
        assert spread.low <= spread.median <= spread.high
    assert found.seconds["craft"].low < found.seconds["craft"].high
    assert found.worker_hours > 0
    assert found.waiting_hours > 0


def test_hours_of_one_worker_are_those_of_the_run():
    found = simulate_several(WORK, QUIET, runs=1)
    assert found.worker_hours == pytest.approx(found.seconds["total"].median / 3600)
    assert found.waiting_hours == pytest.approx(0, abs=1e-9)


def test_the_simulation_needs_no_torch():
    code = "import semshard.measuring.simulation, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
