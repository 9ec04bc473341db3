"""The program, run as a program: exit codes, one JSON object, one-line errors, options that are all documented."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from semshard_cli import show
from semshard_cli.main import app
from semshard_cli.watch import Watch
from typer.main import get_command

from semshard import Event
from semshard.settings import COUNTERMEASURES, METHODS, NAMES
from tests.support.command import semshard
from tests.support.runs import TINY

ROOT = Path(__file__).parents[2]
COMMANDS = get_command(app).commands
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
SEED_THAT_GUESSES = 1  # of a victim that classifies at least one image correctly
VICTIM = ["--preset=quick", "--steps=2", "--batch=8", "--steps-a=1", "--evaluations=1", "--holdout=0.3"]


@pytest.mark.slow
def test_the_story_as_json(tmp_path, images):
    out = tmp_path / "shards"
    done = semshard("protect", images, "--out", out, "--json", *OPTIONS)
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    keys = {"samples", "shards", "rejected", "linf_max", "psnr_mean", "seconds", "out", "ledger", "fingerprint"}
    assert keys <= result.keys()
    assert (result["samples"], result["shards"], result["rejected"], result["linf_max"]) == (40, 3, 0, 8)
    assert {"scan", "surrogate", "craft"} <= result["seconds"].keys()
    assert "surrogate: 3/3 steps" in done.stderr

    again = semshard("protect", images, "--out", out, *OPTIONS)
    assert "Nothing to do" in again.stdout

    audit = json.loads(semshard("audit", out, "--json").stdout)
    assert {name: audit[name] for name in ("ok", "checked", "failures")} == {"ok": True, "checked": 40, "failures": []}

    plain = "--countermeasure=none"
    verify = json.loads(semshard("verify", out, "--rho-a", "0", "--rho-a", "2/255", plain, "--json", *VICTIM).stdout)
    assert verify["chance"] == 0.1
    assert [attacker["rho_a"] for attacker in verify["attackers"]] == ["0/255", "2/255"]
    assert list(verify["attackers"][0]["data"]) == ["clean", "protected", "control"]
    figures = verify["attackers"][1]["data"]["protected"]
    attacked = {"under_pgd", "train_under_pgd", "train_under_own"}
    assert {"final", "final_interval", "best", "best_interval", "train", *attacked, "seeds"} == figures.keys()
    assert verify["verdict"]["attacker"] in {attacker["name"] for attacker in verify["attackers"]}

    picture = json.loads(semshard("preview", out, "--out", tmp_path / "p.png", "--json").stdout)["picture"]
    assert Path(picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_failed_audit_exits_with_1(finished):
    (finished / "shards" / "00001.tar").unlink()
    done = semshard("audit", finished / "shards", expect=1)
    assert "00001.tar: is missing" in done.stdout
    assert json.loads(semshard("audit", finished / "shards", "--json", expect=1).stdout)["ok"] is False


@pytest.mark.slow
def test_requirements_turn_a_weak_protection_into_exit_1(finished):
    shards = finished / "shards"
    line = ["verify", shards, "--rho-a", "0", "--countermeasure=none", *VICTIM, "--seed", SEED_THAT_GUESSES]
    semshard(*line, "--require-below", "100%")
    found = json.loads(semshard(*line, "--json").stdout)
    best = {kind: figures["best"] for kind, figures in found["attackers"][0]["data"].items()}
    assert best["protected"] > 0, "choose another seed: this victim guessed nothing"
    done = semshard(*line, "--require-below", str(best["protected"] - 0.01), expect=1)
    assert "above --require-below" in done.stderr
    assert found["verdict"]["attacker"] in done.stderr
    semshard(*line, "--require-below", str(best["protected"]))
    done = semshard(*line, "--require-drop", "90%", expect=1)
    assert "less than --require-drop 90.0%" in done.stderr
    if best["clean"] >= best["protected"]:
        semshard(*line, "--require-drop", str(max(0, best["clean"] - best["protected"] - 1e-9)))


@pytest.mark.parametrize(("command", "names"), [("countermeasures", COUNTERMEASURES), ("views", NAMES)])
def test_what_there_is_to_choose_from_as_json_and_as_a_table(command, names):
    found = json.loads(semshard(command, "--json").stdout)
    assert [each["name"] for each in found] == list(names)
    table = semshard(command).stdout
    for each in found:
        assert each["name"] in table


@pytest.mark.slow
def test_a_table_of_the_paper_as_json_and_as_markdown(tmp_path, images):
    small = {"steps": 2, "batch": 8, "steps_u": 1, "steps_a": 1, "final_steps": 1}
    line = [
        "reproduce",
        "table7",
        "--source",
        images,
        "--out",
        tmp_path / "t7",
        "--cells",
        "*none, model pgd:*",
        *VICTIM[1:],
    ]
    line += [f"--protection={name}={value}" for name, value in small.items()]
    found = json.loads(semshard(*line, "--json").stdout)
    (cell,) = found["cells"]
    assert (cell["row"], cell["paper"]) == ("noise none, model pgd", 37.91)
    assert 0 <= cell["ours"] <= 100
    text = semshard(*line).stdout
    assert f"{cell['ours']:.1f} (37.9)" in text
    assert f"{cell['ours']:.1f} (37.9)" in (tmp_path / "t7" / "table7.md").read_text()
    wrong = semshard("reproduce", "table9", "--source", images, "--out", tmp_path / "x", expect=2).stderr
    assert "choose one of: table1, table2" in wrong
    wrong = semshard("reproduce", "table7", "--source", images, "--out", tmp_path / "x", "--cells", "a:b", expect=2)
    assert "no cell has the name a:b" in wrong.stderr


@pytest.mark.slow
def test_a_table_is_planned_and_made_in_pieces(tmp_path, images):
    line = ["reproduce", "table2", "--source", images, "--out", tmp_path / "t2", "--cells", "Clean Data:4/255"]
    line += VICTIM[1:]
    plan = json.loads(semshard(*line, "--dry-run", "--rates", "1e9,1e9", "--json").stdout)["parts"]
    assert [part["part"] for part in plan] == ["images for clean victims", "victim for Clean Data, 4/255"]
    assert plan[1]["seconds"] == max(plan[1]["flop"], plan[1]["bytes"]) / 1e9 > 0
    shown = semshard(*line, "--dry-run", "--rates", "1e9,1e9").stdout
    assert "victim for Clean Data, 4/255" in shown
    assert not (tmp_path / "t2").exists()
    piece = [*line, "--round-every", "1", "--minutes", "1e-9", "--state", tmp_path / "state"]
    stopped = semshard(*piece, expect=75).stderr
    assert "the time is up" in stopped.splitlines()[-1]
    assert "error" not in stopped
    assert (tmp_path / "state" / "state.json").exists()
    semshard(*line, "--round-every", "1")
    assert "(89.5)" in (tmp_path / "t2" / "table2.md").read_text()
    for wrong, words in (("fast", "is not FLOP,BYTES"), ("1,0", "above 0")):
        assert words in semshard(*line, "--dry-run", "--rates", wrong, expect=2).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["protect", "nowhere", "--out", "x"], 2, "there is no folder nowhere"),
        (["protect", "shapes:50", "--out", "x", "--rho-u", "8"], 2, "outside 0 to 1"),
        (["protect", "shapes:50", "--out", "x", "--preset", "huge"], 2, "choose one of: medium, paper, quick"),
        (["protect", "shapes:50", "--out", "x", "--max-rejects", "lots"], 2, "not a share"),
        (["protect", "shapes:50", "--out", "x", "--device", "cuda:9"], 2, "cannot be used"),
        (["protect", "shapes:50", "--out", "x", "--config", "no.toml"], 2, "there is no file no.toml"),
        (["protect", "shapes:50"], 2, "--out"),
        (["protect", "shapes:50", "--out", "x", "--speed", "9"], 2, "--speed"),
        (["audit", "nowhere"], 1, "holds no manifest.json"),
        (["verify", "nowhere"], 1, "the folder does not exist"),
        (["preview", "nowhere", "--out", "x.png"], 1, "holds no manifest.json"),
        (["protect", "shapes:50", "--out", "/proc/x"], 1, ""),
    ],
)
def test_errors_are_one_line_and_an_exit_code(tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    done = semshard(*arguments, expect=code)
    assert words in re.sub(r"\x1b\[[0-9;]*m", "", done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_debug_shows_where_an_error_comes_from():
    program = [sys.executable, "-m", "semshard_cli", "audit", "nowhere", "--debug"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.slow
def test_settings_come_from_toml_and_options_go_first(tmp_path, images):
    file = tmp_path / "run.toml"
    file.write_text(
        'preset = "quick"\nrho-u = "4/255"\nsteps = 2\nbatch = 8\nsteps_u = 1\nsteps_a = 1\nshard_size = 100\n'
    )
    plan = json.loads(
        semshard(
            "protect", images, "--out", tmp_path / "o", "--config", file, "--rho-u", "6/255", "--dry-run", "--json"
        ).stdout
    )
    assert plan["settings"]["rho_u"] == "6/255"
    assert (plan["settings"]["steps"], plan["settings"]["preset"], plan["shards"]) == (2, "quick", 1)
    assert not (tmp_path / "o").exists()
    file.write_text("steps = = 3\n")
    assert "not a TOML file" in semshard("protect", images, "--out", tmp_path / "o", "--config", file, expect=2).stderr


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("protect", "stepz = 3"),
        ("protect", "surrogate = 'x.safetensors'"),
        ("protect", "out = 'elsewhere'"),
        ("protect", "device = 'cuda'"),
        ("protect", "max-rejects = 0.5"),
        ("protect", "progress = 1"),
        ("train", "checkpoint_seconds = 5"),
        ("plan", "workers = 8"),
        ("sweep", "victim = 'small'"),
        ("verify", "weights = 'resnet18'"),
        ("bench", "repeats = 9"),
        ("robustness", "images = 9"),
        ("robustness", "countermeasure = 'grey'"),
        ("reproduce", "preset = 'paper'"),
        ("reproduce", "seeds = 3"),
        ("reproduce", "rho_a = '8/255'"),
    ],
)
def test_a_config_file_holds_settings_that_the_command_has_and_nothing_else(tmp_path, monkeypatch, command, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(line)
    words = {
        "verify": ["shards"],
        "bench": [],
        "plan": ["shapes:50"],
        "robustness": ["shards", "--out", "o"],
        "reproduce": ["table1", "--source", "shapes:50", "--out", "o"],
        "sweep": ["shapes:50", "--out", "o", "--setting", "steps", "--values", "1,2"],
    }.get(command, ["shapes:50", "--out", "o"])
    errors = semshard(command, *words, "--config", "run.toml", expect=2).stderr
    name = line.partition(" ")[0].replace("-", "_")
    words = f"semshard: error: {name!r} in run.toml is not a valid setting of {command}; these are: "
    assert errors.startswith(words), errors
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_in_a_terminal_progress_is_live(tmp_path, images):
    """A real pseudo-terminal: bars, the loss, images a second, time left."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "semshard_cli", "protect", str(images), "--out", str(tmp_path / "s"), *OPTIONS],
        stdout=side, stderr=side, env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(side)
    shown = b""
    while True:
        try:
            shown += os.read(main, 65536)
        except OSError:
            break
    assert process.wait(timeout=120) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))
    assert re.search(r"surrogate .*3/3 +steps .*images/s .*loss \d\.\d+ .*\d:\d\d:\d\d", text)
    assert re.search(r"craft .*40/40 images .*images/s", text)


def test_brackets_and_colons_are_no_markup(capsys):
    odd = "x[/s[bold]:smile:]"
    show.facts(f"facts {odd}", [("folder", odd)])
    show.table(f"table {odd}", ("name", odd), [(odd, odd)])
    show.listing(f"listing {odd}", ("name",), [(odd,)], f"caption {odd}")
    assert capsys.readouterr().out.count(odd) == 9
    watch = Watch()
    watch(Event(odd, 1, 1, "images"))
    assert odd in capsys.readouterr().err


@pytest.mark.slow
def test_brackets_and_colons_in_a_path_are_printed_as_they_are(tmp_path, monkeypatch, images):
    """They mean neither a style nor an emoji."""
    monkeypatch.chdir(tmp_path)
    out, source = "x[/s[bold]:smile:]", "x[/in]"
    (tmp_path / "x[").mkdir()
    images.rename(source)
    protect = ["protect", source, "--out", out, "--method=sc", "--preset=quick", "--device=cpu"]
    for line in (
        [*protect, "--dry-run"],
        protect,
        protect,
        ["status", out],
        ["repair", out],
        ["preview", out, "--out", f"{out}.png"],
    ):
        assert out in semshard(*line).stdout, line
    assert source in semshard("sources", "--check", source).stdout


def test_methods_as_json_and_as_a_table():
    found = json.loads(semshard("methods", "--json").stdout)
    assert {method["name"] for method in found} == set(METHODS) - {"cell"}
    table = semshard("methods").stdout
    for method in found:
        assert method["name"] in table


@pytest.mark.slow
def test_a_sweep_and_a_study_as_json_and_as_tables(tmp_path, images):
    recipe = {"steps": 2, "batch": 8, "steps_a": 1, "evaluations": 1, "holdout": 0.3, "rho_a": "2/255"}
    victim = [f"--victim={name}={value}" for name, value in recipe.items()]
    options = [option for option in OPTIONS if not option.startswith("--steps=")]
    line = ["sweep", images, "--out", tmp_path / "sweep", "--setting=steps", "--values=1,2", "--method=rem"]
    line += [*victim, *options]
    found = json.loads(semshard(*line, "--json").stdout)
    assert [cell["value"] for cell in found["cells"]] == [None, 1, 2]
    table = semshard(*line).stdout
    assert "clean images" in table
    assert "sweep.png" in table
    folders = [tmp_path / "sweep" / f"steps={steps}" for steps in (1, 2)]
    line = ["robustness", *folders, "--out", tmp_path / "study", "--preset=quick", "--images=8"]
    line += [f"--{name.replace('_', '-')}={value}" for name, value in recipe.items()]
    study = json.loads(semshard(*line, "--json").stdout)
    assert [point["steps"] for point in study["points"]] == [1, 2]
    assert "R_θ" in semshard(*line).stdout
    line = ["sweep", images, "--out", tmp_path / "s", "--setting=steps"]
    assert "not NAME=VALUE" in semshard(*line, "--values=1", "--victim=steps", expect=2).stderr
    assert "steps = 'a' is not a whole number" in semshard(*line, "--values=a", expect=2).stderr
    assert "setting 'step' is unknown" in semshard(*line, "--setting=step", "--values=1", expect=2).stderr
