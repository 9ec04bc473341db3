"""README and guide: links lead somewhere, commands and targets exist, generated parts are up to date."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from semshard_cli.main import app
from typer.main import get_command

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDE = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *GUIDE]
PROGRAM = get_command(app)
OPTIONS = {
    option
    for command in PROGRAM.commands.values()
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
}
OF_THE_PROGRAM = {option for parameter in PROGRAM.params for option in parameter.opts}
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^(?: {4}[^\n]*\n)+|^```\w*\n.*?^```", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`((?:semshard|make) [^`]+)`")


def of(pages):
    return pytest.mark.parametrize("page", pages, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page):
    """The names that GitHub gives to the headings of a page."""
    names = []
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), flags=re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        earlier = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", each) is not None for each in names)
        names.append(f"{name}-{earlier}" if earlier else name)
    return names


def command_lines(page):
    """What stands in code blocks, lines that end in a backslash joined, and commands quoted inside a sentence."""
    text = page.read_text()
    for block in BLOCK.findall(text):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())
    prose = BLOCK.sub("", re.sub(r"<!-- options -->.*?<!-- end -->", "", text, flags=re.DOTALL))
    yield from (" ".join(quoted.split()) for quoted in QUOTED.findall(prose))


def calls(page, program):
    """The arguments of every call of a program in a page."""
    for line in command_lines(page):
        if line.startswith(f"{program} "):
            yield shlex.split(line, comments=True)[1:]


def problem(words):
    """What the program would not accept in a call of semshard, or None. The call is parsed and not run."""
    if set(words) <= OF_THE_PROGRAM:
        return None
    command = PROGRAM.commands.get(words[0])
    if command is None:
        return f"there is no command {words[0]}"
    if len(words) == 1:
        return None  # named in a sentence
    try:
        command.make_context(words[0], words[1:])
    except Exception as error:
        return f"{words[0]}: {error}"
    return None


@of(PAGES)
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@of(PAGES)
def test_every_command_can_be_parsed(page):
    assert not list(filter(None, map(problem, calls(page, "semshard"))))


@of(PAGES)
def test_every_option_named_in_a_sentence_exists(page):
    prose = BLOCK.sub("", page.read_text())
    named = {option for quoted in re.findall(r"`(--[^`]+)`", prose) for option in re.findall(r"--[a-z][\w-]*", quoted)}
    assert named <= OPTIONS | OF_THE_PROGRAM | {"--help"}


@of(PAGES)
def test_every_target_of_make_exists(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {words[0] for words in calls(page, "make")} <= targets


def test_commands_are_found_and_bad_ones_are_seen():
    assert sum(len(list(calls(page, "semshard"))) for page in PAGES) > 30
    assert ["protect", "./imgs", "--out", "shards/"] in calls(README, "semshard")
    assert ["demo"] in calls(README, "make")
    assert problem(["verify", "shards/", "--rho-a", "4/255"]) is None
    for words in (["verifies", "x"], ["verify", "x", "--no-such"], ["verify", "x", "--steps", "few"], ["protect", "x"]):
        assert problem(words), words


def test_the_readme_stays_short():
    assert len(README.read_text().splitlines()) <= 250
    assert len(README.read_bytes()) <= 14_000


@of(GUIDE)
def test_every_page_is_in_the_contents_and_says_what_comes_next(page):
    contents = (ROOT / "docs" / "README.md").read_text()
    assert page.name == "README.md" or f"]({page.name})" in contents
    assert re.match(r"Next: .*\[.+\]\([\w-]+\.md\)", page.read_text().rstrip().splitlines()[-1])


def test_generated_parts_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "render.py", "--check"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_is_out_of_date_is_noticed(tmp_path):
    """A copy of the pages with one changed figure."""
    for folder in ("examples", "docs", "semshard", "cli"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(README, tmp_path)
    page = tmp_path / "docs" / "protecting.md"
    page.write_text(page.read_text().replace("| 35.0 % |", "| 15.0 % |"))
    render = [sys.executable, tmp_path / "examples" / "render.py"]
    checked = subprocess.run([*render, "--check"], capture_output=True, text=True, timeout=120)
    assert checked.returncode == 1
    assert checked.stdout == "docs/protecting.md is out of date: make docs\n"
    assert "| 15.0 % |" in page.read_text()
    subprocess.run(render, check=True, timeout=120)
    assert page.read_text() == (ROOT / "docs" / "protecting.md").read_text()


def test_the_options_are_those_that_the_program_prints():
    printed = subprocess.run(
        [sys.executable, "-m", "semshard_cli.reference"], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert f"<!-- options -->\n\n{printed.strip()}\n\n<!-- end -->" in (ROOT / "docs" / "options.md").read_text()


def test_every_result_says_where_it_comes_from_and_is_shown():
    shown = set(re.findall(r"<!-- results: ([\w-]+) ", "".join(page.read_text() for page in PAGES)))
    results = sorted((ROOT / "examples" / "results").glob("*.json"))
    assert shown == {path.stem for path in results}
    for path in results:
        result = json.loads(path.read_text())
        assert set(result) == {"about", "command", "commit", "hardware", "software", "seeds", "date", "figures"}, path
        assert result["about"], path
        assert result["figures"], path
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"]), path


def test_every_package_is_in_the_page_about_the_inside():
    listed = set(re.findall(r"<!-- files: (\S+) -->", (ROOT / "docs" / "inside.md").read_text()))
    folders = {path.parent for path in (*(ROOT / "semshard").rglob("*.py"), *(ROOT / "cli").glob("*.py"))}
    assert listed == {str(folder.relative_to(ROOT)) for folder in folders}
