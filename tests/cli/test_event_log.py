"""--log-json: one JSON object per line; and progress where standard error is a pipe."""

import json
import re
import subprocess
import sys
from datetime import datetime

from semshard_cli.event_log import EventLog
from semshard_cli.main import app
from semshard_cli.watch import Watch
from typer.main import get_command

from semshard import Event
from tests.support.command import semshard
from tests.support.runs import TINY

OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
LONG = {"protect", "verify", "audit", "train", "demo", "sweep", "robustness", "reproduce", "bench"}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def kinds(events):
    return [event["event"] for event in events]


def test_every_long_command_has_a_log():
    commands = get_command(app).commands
    assert {name for name, each in commands.items() if "log_json" in {one.name for one in each.params}} >= LONG


def test_a_run_is_written_from_start_to_end_and_appended_to_and_a_stage_is_one_line_in_a_pipe(tmp_path, images):
    log = tmp_path / "log.jsonl"
    done = semshard("protect", images, "--out", tmp_path / "s", "--log-json", log, "--json", *OPTIONS)
    result = json.loads(done.stdout)
    assert not CONTROL.search(done.stdout + done.stderr)
    assert [m[1] for m in re.finditer(r"^(\w+): \d+/\d+ ", done.stderr, re.M)] == ["scan", "surrogate", "craft"]
    events = lines(log)
    assert kinds(events)[0] == "start"
    assert kinds(events)[-2:] == ["result", "end"]
    assert events[0]["command"] == "protect"
    assert events[-2]["result"] == result
    assert events[-1]["exit_code"] == 0
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert times == sorted(times)
    progress = [event for event in events if event["event"] == "progress"]
    assert {event["stage"] for event in progress} >= {"scan", "surrogate", "craft"}
    last = {event["stage"]: event for event in progress}
    assert all(event["done"] == event["total"] for event in last.values())
    assert (last["surrogate"]["unit"], last["craft"]["unit"]) == ("steps", "images")
    assert last["surrogate"]["measures"]["loss"] > 0
    assert "remark" in kinds(events)

    semshard("protect", "nowhere", "--out", tmp_path / "x", "--log-json", log, expect=2)
    again = lines(log)
    assert again[: len(events)] == events
    assert kinds(again[len(events) :]) == ["start", "end"]
    assert again[-1]["exit_code"] == 2
    assert "there is no folder nowhere" in again[-1]["error"]


def test_a_check_that_fails_ends_with_1_after_its_result(tmp_path, finished):
    (finished / "shards" / "00001.tar").unlink()
    semshard("audit", finished / "shards", "--log-json", tmp_path / "log", expect=1)
    events = lines(tmp_path / "log")
    assert events[-2]["result"]["ok"] is False
    assert events[-1]["exit_code"] == 1


def test_a_log_that_cannot_be_opened_is_wrong_usage(tmp_path, finished):
    done = semshard("audit", finished / "shards", "--log-json", tmp_path / "no" / "log", expect=2)
    assert "--log-json" in done.stderr
    assert "No such file or directory" in done.stderr


def test_a_log_that_cannot_be_written_later_is_one_line_and_no_failure(finished):
    done = semshard("audit", finished / "shards", "--log-json", "/dev/full")
    assert done.stderr.count("No space left on device") == 1


def test_numbers_that_json_does_not_have_are_null(tmp_path):
    log = EventLog(tmp_path / "log")
    log.progress(Event("craft", 1, 1, "images", {"loss": float("nan"), "rate": float("inf"), "rejected": 2}))
    log.close()
    assert lines(tmp_path / "log")[0]["measures"] == {"loss": None, "rate": None, "rejected": 2}


def test_many_events_make_few_lines_the_first_and_the_last_among_them(tmp_path):
    log = EventLog(tmp_path / "log")
    for done in range(1, 5001):
        log.progress(Event("scan", done, 5000, "images"))
    log.close()
    found = [event["done"] for event in lines(tmp_path / "log")]
    assert (found[0], found[-1]) == (1, 5000)
    assert len(found) < 20


def test_in_a_pipe_a_long_stage_is_a_line_per_minute(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Watch() as watch:
        for second in range(601):
            now[0] = float(second)
            watch(Event("surrogate", second, 600, "steps"))
            watch(Event("surrogate", second, 600, "steps"))
    assert len(capsys.readouterr().err.splitlines()) == 10


def test_an_old_code_page_is_no_reason_to_fail():
    done = subprocess.run(
        [sys.executable, "-m", "semshard_cli", "views"],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")
