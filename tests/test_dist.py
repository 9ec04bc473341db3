"""Wheel and source archive: what they hold, that twine accepts them, and what the Dockerfile builds them from."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "examples" / "Dockerfile").read_text()
DATA = {
    "semshard/py.typed",
    "semshard/reproduction/paper.json",
    "semshard/shards/manifest.schema.json",
    "semshard/verification/report.html.j2",
}


def copied():
    """What the Dockerfile copies from the repository, by its own lines."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [name for line in lines for name in line.split()]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Both archives, built without a network from no more than what the Dockerfile copies."""
    source = tmp_path_factory.mktemp("dist") / "source"
    source.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", source.parent / "out", source],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return source.parent / "out"


@pytest.mark.slow
def test_wheel_and_archive_are_whole_and_twine_accepts_them(dist):
    (wheel,), (archive,) = dist.glob("*-py3-none-any.whl"), dist.glob("*.tar.gz")
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "semshard").rglob("*.py")}
    commands = {path.name for path in (ROOT / "cli").glob("*.py")}
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (points,) = (file.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert modules | DATA | {f"semshard_cli/{name}" for name in commands} <= names
    info = f"{wheel.name.rsplit('-', 3)[0]}.dist-info"
    assert {name.split("/")[0] for name in names} == {"semshard", "semshard_cli", info}
    assert "semshard = semshard_cli.main:main" in points
    with tarfile.open(archive) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    assert modules | DATA | {f"cli/{name}" for name in commands} | {"LICENSE", "README.md", "pyproject.toml"} <= inside
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", wheel, archive], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
def test_the_wheel_runs_without_the_repository(dist, tmp_path):
    """Unpacked, as an installer does it, with the libraries of this environment."""
    (wheel,) = dist.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)  # noqa: S202  # built above
    program = (
        f"import sys; sys.path[:] = [{str(site)!r}, *(p for p in sys.path if p not in ('', {str(ROOT)!r}))]\n"
        "import semshard, semshard_cli\n"
        f"assert semshard.__file__.startswith({str(site)!r}) and semshard_cli.__file__.startswith({str(site)!r})\n"
        "from semshard_cli.main import main\nsys.argv[0] = 'semshard'\nmain()"
    )

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr

    tiny = ["--preset=quick", "--steps=2", "--batch=8"]
    run("protect", "shapes:100", "--out", "shards", *tiny, "--final-steps=1", "--final-draws=1")
    run("verify", "shards", *tiny, "--evaluations=1", "--rho-a=0", "--countermeasure=none")
    assert "<html" in (tmp_path / "shards.report" / "report.html").read_text()


def test_the_dockerfile_needs_debian_and_pypi_alone():
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"debian:trixie-slim"}
    assert not re.search(r"https?://|curl|wget|git clone|ADD ", DOCKERFILE)
    assert all((ROOT / name).exists() for name in copied())
