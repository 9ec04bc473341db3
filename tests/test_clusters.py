"""The examples for clusters: their commands are accepted, and run here end in the bytes of one call."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from semshard_cli.main import app
from typer.main import get_command

import semshard
from tests.support.runs import TINY, public_bytes

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAM = get_command(app)
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]

# Runs the jobs of a cluster one by one, the tasks of an array in reverse, each when what it waits for has ended well.
SBATCH = """
import os, re, subprocess, sys
given = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
name = given["job-name"]
log = open(os.environ["JOBS"], "a+")
log.seek(0)
done = log.read().split()
assert not (after := given.get("dependency")) or after.removeprefix("afterok:") in done, after
first, last = map(int, given["array"].split("-")) if "array" in given else (0, 0)
for task in range(last, first - 1, -1):
    array = {"ID": task, "COUNT": last - first + 1, "MIN": first, "MAX": last, "STEP": 1} if "array" in given else {}
    environment = os.environ | {f"SLURM_ARRAY_TASK_{each}": str(value) for each, value in array.items()}
    subprocess.run(["sh", "-c", given["wrap"]], env=environment, check=True, stdout=sys.stderr)
log.write(f"{len(done) + 100}\\n")
print(f"{len(done) + 100};cluster")
"""


def accepted(words):
    """Parses a call of semshard; raises for what it does not know."""
    program, command, *arguments = words
    assert program == "semshard"
    with PROGRAM.commands[command].make_context(command, list(arguments)) as context:
        return context.params


def kubernetes_jobs():
    return list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))


def container(job):
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return only


def test_the_kubernetes_jobs_are_whole_and_their_commands_accepted():
    jobs = kubernetes_jobs()
    assert [job["metadata"]["labels"]["step"] for job in jobs] == ["surrogate", "parts", "finish"]
    steps = [accepted(["semshard", *container(job)["args"]]) for job in jobs]
    assert [(each["until"], each["part"], each["finish"]) for each in steps] == [
        ("surrogate", None, False), (None, "auto/8", False), (None, None, True)
    ]  # fmt: skip
    for job, params in zip(jobs, steps, strict=True):
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
        assert pod["restartPolicy"] == "Never"  # which podFailurePolicy asks for
        assert pod["nodeSelector"] == jobs[0]["spec"]["template"]["spec"]["nodeSelector"]
        assert {volume["name"] for volume in pod["volumes"]} == {m["name"] for m in container(job)["volumeMounts"]}
        assert params["source"].startswith(container(job)["volumeMounts"][0]["mountPath"])
        for rule in spec["podFailurePolicy"]["rules"]:
            assert rule.get("onExitCodes", {}).get("containerName", "semshard") == container(job)["name"]
        assert (spec.get("completionMode") == "Indexed") == (params["part"] is not None)
    assert jobs[1]["spec"]["completions"] == int(steps[1]["part"].removeprefix("auto/"))


def test_the_script_for_slurm_is_bash():
    subprocess.run(["bash", "-n", EXAMPLES / "slurm.sh"], check=True)
    assert os.access(EXAMPLES / "slurm.sh", os.X_OK)


@pytest.fixture
def cluster(tmp_path):
    """The environment of a machine with `semshard`, and with a `sbatch` that runs jobs at once."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, line in (
        ("semshard", [sys.executable, "-m", "semshard_cli"]),
        ("sbatch", [sys.executable, "-c", SBATCH]),
    ):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(line)} "$@"\n')
        (programs / name).chmod(0o755)
    return os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "JOBS": str(tmp_path / "jobs")}


@pytest.mark.slow
def test_the_script_for_slurm_ends_in_the_bytes_of_one_call(cluster, tmp_path, finished):
    line = [EXAMPLES / "slurm.sh", finished / "images", "--out", tmp_path / "out put", *OPTIONS]
    done = subprocess.run(line, env=cluster | {"PARTS": "2"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "submitted: surrogate 100;cluster, parts 101;cluster, finish 102;cluster\n"
    assert public_bytes(tmp_path / "out put") == public_bytes(finished / "shards")


@pytest.mark.slow
def test_the_pods_of_the_kubernetes_job_make_all_shards(cluster, tmp_path, finished):
    semshard.protect(finished / "images", tmp_path / "shards", **TINY, until="surrogate")
    parts = kubernetes_jobs()[1]
    words = [word.replace("/data/imgs", f"{finished}/images") for word in container(parts)["args"]]
    words = [word.replace("/data/", f"{tmp_path}/").replace("auto/8", "auto/2") for word in words]
    for index in range(2):
        environment = cluster | {"JOB_COMPLETION_INDEX": str(index)}
        subprocess.run(["semshard", *words, *OPTIONS], env=environment, check=True, timeout=300)
    semshard.protect(finished / "images", tmp_path / "shards", **TINY, finish=True)
    assert public_bytes(tmp_path / "shards") == public_bytes(finished / "shards")
