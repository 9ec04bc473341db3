"""Packages that add sources, methods and countermeasures: an example installed into a folder, and broken ones."""

import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from semshard.settings import METHODS
from semshard.shards import read_manifest
from semshard.shards.manifest import check_manifest
from tests.support.runs import TINY

EXAMPLE = Path(__file__).parent / "plugin_example"
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "rho_a"]


def run(site, *arguments):
    """A Python with the packages of the folder `site`."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def semshard(site, *arguments):
    """The program with the packages of the folder `site`."""
    return run(site, "-m", "semshard_cli", *arguments)


def python(site, program):
    """What a program prints, with the packages of the folder `site`."""
    return run(site, "-c", program).stdout


def package(site, name, version, module="", **points):
    """A package as installers leave it: a module and its .dist-info. `points`: kind → lines of entry points."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"[semshard.{kind}]\n{text}\n" for kind, text in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (site / f"{name}.py").write_text(module)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip has installed the example; no network is needed."""
    home = tmp_path_factory.mktemp("plugins")
    build = home / "source"
    shutil.copytree(EXAMPLE, build)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", home / "site", build], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return home / "site"


@pytest.mark.slow
def test_a_package_adds_one_of_each_and_a_run_uses_all_three(site, tmp_path):
    listed = "import semshard as s; print(*(f()[-1].name for f in (s.source_kinds, s.methods, s.countermeasures)))"
    assert python(site, listed).split() == ["gradients", "stripes", "halve"]
    out = tmp_path / "shards"
    line = ["protect", "gradients:40", "--out", out, "--method", "stripes", *OPTIONS]
    assert json.loads(semshard(site, *line, "--json").stdout)["linf_max"] == 8
    manifest = read_manifest(out)
    assert manifest["classes"] == ["right", "left", "down", "up"]
    assert manifest["plugins"] == [
        {"kind": "methods", "name": "stripes", "package": "semshard-example", "version": "1.2.3"}
    ]
    assert not {"network", "steps", "views"} & manifest["settings"].keys()
    assert "Nothing to do" in semshard(site, *line).stdout
    assert json.loads(semshard(site, "audit", out, "--json").stdout)["compared"] == 40
    victim = ["--preset=quick", "--steps=2", "--batch=8", "--evaluations=1", "--holdout=0.3", "--rho-a=0"]
    found = json.loads(semshard(site, "verify", out, "--countermeasure=halve", *victim, "--json").stdout)
    assert found["attackers"][0]["countermeasure"] == "halve"


def test_a_manifest_names_plugins_where_the_method_is_not_built_in_and_only_there(finished):
    manifest = json.loads((finished / "shards" / "manifest.json").read_bytes())
    added = {"kind": "methods", "name": "stripes", "package": "x", "version": "1"}
    assert check_manifest(manifest) == []
    assert check_manifest(manifest | {"plugins": [added]})
    manifest["settings"]["method"] = "stripes"
    assert check_manifest(manifest)
    assert check_manifest(manifest | {"plugins": [added]}) == []


BROKEN = "raise RuntimeError('no licence')\n"
BAD = """
from semshard.extending import Countermeasure, Method
WILD = Method("wild", "", "", surrogate=False, make=lambda **given: lambda images, *rest: images.char() * 0 + 99)
CRASH = Method("crash", "", "", surrogate=False, make=lambda **given: 1 / 0)
DICT = {}
OTHER = Method("another", "", "", make=print)
"""


@pytest.fixture
def broken(tmp_path):
    """Packages of which nothing can be used."""
    site = tmp_path / "site"
    package(site, "broken", "0.1", BROKEN, methods="frail = broken:X", sources="frail = broken:X\ncifar10 = broken:X")
    points = "wild = bad:WILD\ncrash = bad:CRASH\ndict = bad:DICT\nwrong = bad:OTHER\nsem = bad:WILD\ntwice = bad:WILD"
    package(site, "bad", "2.0", BAD, methods=points, countermeasures="gone = bad:NOTHING")
    package(site, "second", "3.0", "", methods="twice = second:X")
    return site


TRY = """
import json, semshard
for source, method in json.loads({cases!r}):
    try:
        semshard.protect(source, {out!r}, overwrite=True, **(json.loads({settings!r}) | {{"method": method}}))
        print("done")
    except semshard.SemshardError as error:
        print(error.exit_code, error)
"""
CASES = {
    ("frail:1", "sem"): "2 source frail of package broken 0.1 cannot be loaded: RuntimeError: no licence",
    ("shapes:40", "frail"): "2 method frail of package broken 0.1 cannot be loaded: RuntimeError: no licence",
    ("shapes:40", "wild"): "1 method wild of package bad 2.0: its noise exceeds the budget of 8/255",
    ("shapes:40", "crash"): "1 method crash of package bad 2.0 failed: ZeroDivisionError: division by zero",
    ("shapes:40", "dict"): "2 method dict of package bad 2.0 is a dict, not a Method",
    ("shapes:40", "wrong"): "2 method wrong of package bad 2.0 calls itself 'another'; both names must be the same",
    ("shapes:40", "twice"): "2 several packages have a method twice: bad 2.0, second 3.0; uninstall all but one",
    ("shapes:40", "sem"): "done",
}


@pytest.mark.slow
def test_a_broken_plugin_is_named_and_disturbs_nothing_else(broken, tmp_path):
    out = tmp_path / "x"
    program = TRY.format(cases=json.dumps(list(CASES)), out=str(out), settings=json.dumps(TINY))
    assert python(broken, program).splitlines() == list(CASES.values())
    assert "plugins" not in read_manifest(out)


@pytest.mark.slow
def test_the_list_of_methods_says_which_plugins_cannot_be_used(broken):
    listed = semshard(broken, "methods", "--json")
    assert {"crash", "wild"} <= {each["name"] for each in json.loads(listed.stdout)}
    assert "method sem of package bad 2.0 is ignored: that is a built-in name" in listed.stderr
    assert "method frail of package broken 0.1 cannot be loaded: RuntimeError: no licence" in listed.stderr


def test_no_plugin_is_loaded_before_it_is_used(broken):
    program = "import sys; from semshard.settings import protect_config as made; made('quick', (32, 32), 'float32', {})"
    assert python(broken, f"{program}; print(*{{'bad', 'broken', 'second'}} & sys.modules.keys())") == "\n"


def test_the_schema_knows_which_methods_are_built_in():
    schema = json.loads(resources.files("semshard.shards").joinpath("manifest.schema.json").read_text("utf-8"))
    assert set(schema["if"]["properties"]["settings"]["properties"]["method"]["enum"]) == set(METHODS)
