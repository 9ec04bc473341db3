"""The cores that a process may use: masks, limits of containers, and what the user asked for."""

import os
import subprocess
import sys

import pytest

from semshard.cores import cores, cpu_limit


@pytest.fixture
def tree(tmp_path):
    """Files of /proc and /sys in a folder of their own."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return write


def second(tree, own, above="max 100000"):
    return tree(
        proc__self__cgroup="0::/user/job",
        sys__fs__cgroup__user__job__cpu_dot_max=own,
        sys__fs__cgroup__user__cpu_dot_max=above,
    )


@pytest.mark.parametrize(("own", "above", "limit"), [
    ("150000 100000", "max 100000", 1.5),
    ("max 100000", "max 100000", None),
    ("400000 100000", "200000 100000", 2.0),  # the tighter one of all groups above it counts
    ("max 100000", "50000 100000", 0.5),
])  # fmt: skip
def test_a_limit_of_version_2_is_that_of_the_tightest_group(tree, own, above, limit):
    assert cpu_limit(second(tree, own, above)) == limit


def test_a_limit_of_version_1_is_read_from_its_own_tree(tree):
    root = tree(
        proc__self__cgroup="5:cpuset:/job\n4:cpu,cpuacct:/job",
        sys__fs__cgroup__cpu__job__cpu_dot_cfs_quota_us="250000",
        sys__fs__cgroup__cpu__job__cpu_dot_cfs_period_us="100000",
        sys__fs__cgroup__cpu__cpu_dot_cfs_quota_us="-1",
        sys__fs__cgroup__cpu__cpu_dot_cfs_period_us="100000",
    )
    assert cpu_limit(root) == 2.5


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert cpu_limit(tmp_path) is None


def test_one_and_a_half_cpus_are_one_core_and_half_of_one_is_one_too(tree, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert cores(second(tree, "150000 100000")) == 1
    assert cores(second(tree, "50000 100000")) == 1


def test_never_more_than_the_affinity_mask_allows(monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert cores(tmp_path) == len(os.sched_getaffinity(0))
    one = min(os.sched_getaffinity(0))
    program = f"import os; os.sched_setaffinity(0, {{{one}}}); from semshard.cores import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "1"


@pytest.mark.parametrize(("asked", "expected"), [("1", 1), ("1,4", 1), ("1000", None), ("", None), ("many", None)])
def test_omp_num_threads_is_a_limit_and_no_more(monkeypatch, tmp_path, asked, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert cores(tmp_path) == (expected or len(os.sched_getaffinity(0)))
