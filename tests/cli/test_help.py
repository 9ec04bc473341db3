"""The help of the program: of every command and option, in panels, the most needed first; and the reference page."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from semshard_cli.main import app
from semshard_cli.panels import ORDER, by_panel
from semshard_cli.reference import reference
from typer.main import get_command

from semshard.settings import ProtectConfig, VerifyConfig, declared
from tests.support.forks import forks

ROOT = Path(__file__).parents[2]
COMMANDS = get_command(app).commands


@functools.cache
def help_of(*command):
    """The text of --help in a terminal of 80 columns."""
    process = forks().start(*command, "--help", environment=os.environ | {"COLUMNS": "80"})
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


def panel_of(text, title):
    """The lines of one panel, without its title."""
    return re.split(r"\n\n(?=\S)", text.split(f"\n{title}:\n")[1])[0].splitlines()


@pytest.mark.parametrize(
    ("command", "config"),
    [
        *((name, ProtectConfig) for name in ("protect", "train", "sweep", "bench")),
        ("verify", VerifyConfig),
    ],
)
def test_every_setting_has_an_option(command, config):
    names = {parameter.name for parameter in COMMANDS[command].params}
    assert set(config.__dataclass_fields__) <= names


def documented(name):
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", (ROOT / "docs" / "options.md").read_text())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_help_and_is_documented(name):
    command = COMMANDS[name]
    assert command.help
    assert documented(f"semshard {name}")
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name
            assert documented(parameter.opts[0]), f"{parameter.opts[0]} of {name} is not in docs/options.md"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_reference_has_every_command_and_option_with_its_help(name):
    section = reference().split(f"\n## semshard {name}\n")[1].split("\n## ")[0]
    assert " ".join(COMMANDS[name].help.split()) in section
    for parameter in COMMANDS[name].params:
        for option in parameter.opts if parameter.param_type_name == "option" else []:
            assert f"`{option}`" in section
        assert parameter.help.replace("|", "\\|") in section


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_summary_of_a_command_is_not_cut_off(name):
    text = help_of()
    summary = COMMANDS[name].help.split("\n\n")[0].strip()
    assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_in_one_panel_of_the_help(name):
    text = help_of(name)
    for option in COMMANDS[name].params:
        if option.param_type_name == "option":
            assert len(re.findall(rf"^  {re.escape(option.opts[0])}(?![\w-])", text, re.MULTILINE)) == 1
    assert set(by_panel(COMMANDS[name])) <= set(ORDER)
    assert max(map(len, text.splitlines())) <= 80


def test_what_most_people_need_comes_first_on_one_screen():
    first = panel_of(help_of("protect"), "Options")
    assert len(first) <= 24
    options = [line.split()[0] for line in first if line.startswith("  --")]
    assert options == [
        "--out", "--preset", "--method", "--rho-u", "--rho-a", "--views", "--seed", "--config", "--labels",
        "--overwrite", "--dry-run", "--json", "--help",
    ]  # fmt: skip
    assert len(panel_of(help_of("verify"), "Options")) <= 36


def test_a_setting_stands_in_the_panel_of_its_group():
    panels = by_panel(COMMANDS["protect"])
    for name, one in declared(ProtectConfig).items():
        panel = "Options" if one.common else one.group.capitalize()
        assert name in {option.name for option in panels[panel]}


def test_a_command_with_few_options_has_no_panels():
    assert list(by_panel(COMMANDS["status"])) == ["Options"]


def test_the_reference_is_printed():
    done = subprocess.run([sys.executable, "-m", "semshard_cli.reference"], capture_output=True, text=True, check=True)
    assert done.stdout == reference()
