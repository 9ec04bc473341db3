"""Imports point one way: each package may import those listed for it, and no others."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GROUND = {
    "_version",
    "atomic",
    "cores",
    "digests",
    "errors",
    "file_lock",
    "launch",
    "lazy",
    "memory",
    "numbered_part",
    "plugins",
    "progress",
    "threads",
}
SETTINGS = {*GROUND, "settings"}
# What each package may import besides itself. An edge that is not listed fails.
ALLOWED = {
    **{name: {"errors"} for name in GROUND},
    "threads": {"cores", "errors"},
    "atomic": {"errors", "file_lock"},
    "settings": GROUND,
    "storage": GROUND,
    "workers": GROUND,
    "models": SETTINGS,
    "engine": SETTINGS,
    "sources": SETTINGS,
    "signing": GROUND,
    "shards": {*SETTINGS, "sources", "signing", "storage"},  # the metadata of a picture, which both read and write
    "noise": {*SETTINGS, "engine", "models"},
    "publishing": {*SETTINGS, "shards", "storage"},
    "filters": GROUND,
    "inspection": {*SETTINGS, "sources", "shards", "publishing", "filters", "signing", "storage", "workers"},
    "measuring": {*SETTINGS, "engine", "models", "noise"},
    "grouping": {*SETTINGS, "engine", "models", "noise"},
    "victims": {*SETTINGS, "engine", "models", "noise", "filters"},
    "protection": {
        *SETTINGS, "engine", "models", "noise", "sources", "shards", "publishing", "measuring", "grouping", "workers",
        "signing", "storage",
    },
    "verification": {
        *SETTINGS, "engine", "models", "noise", "sources", "shards", "inspection", "victims", "measuring", "workers",
        "storage",
    },
    "studies": {
        *SETTINGS, "engine", "noise", "sources", "shards", "protection", "verification", "victims",
        "storage", "workers",
    },
    "benchmark": {*SETTINGS, "engine", "noise", "sources", "shards", "measuring", "protection", "workers"},
    "reproduction": {
        *SETTINGS, "engine", "noise", "sources", "shards", "measuring", "protection", "verification", "victims",
        "studies", "storage", "workers",
    },
    "catalogue": {*SETTINGS, "sources", "noise", "victims"},
    "extending": {*SETTINGS, "sources", "noise", "victims"},
}  # fmt: skip
FILES = sorted((ROOT / "semshard").rglob("*.py"))


def room(path):
    first = path.relative_to(ROOT / "semshard").parts[0]
    return first.removesuffix(".py")


def imports(path):
    """What a file imports, by its full name, wherever in the file that stands."""
    package = ("semshard", *path.relative_to(ROOT / "semshard").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((*module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)


def imported_rooms(path):
    """Rooms of semshard that a file imports."""
    for name in imports(path):
        if name[0] == "semshard" and len(name) > 1:
            yield name[1]
        if name[0] in ("semshard_cli", "cli"):
            yield "cli"


def imported_file(name):
    """The file of semshard that an import is about, if it is one."""
    for length in range(len(name), 0, -1):
        path = ROOT.joinpath(*name[:length])
        if (path / "__init__.py").exists():
            return path / "__init__.py"
        if path.with_suffix(".py").exists():
            return path.with_suffix(".py")
    return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path):
    if path == ROOT / "semshard" / "__init__.py":
        return  # the public names, from wherever they are
    here = room(path)
    strange = set(imported_rooms(path)) - ALLOWED[here] - {here}
    assert not strange, f"{here} may not import {', '.join(sorted(strange))}"


def test_the_allowed_edges_have_no_circle():
    height = {}

    def floor(name, above=()):
        assert name not in above, f"{' → '.join([*above, name])} is a circle"
        if name not in height:
            height[name] = 1 + max((floor(below, (*above, name)) for below in ALLOWED[name] - {name}), default=0)
        return height[name]

    assert max(map(floor, ALLOWED)) <= 11  # and the command line above them all


def test_files_have_no_circle():
    """Neither at run time nor for the types."""
    below = {path: {imported_file(name) for name in imports(path) if name[0] == "semshard"} for path in FILES}
    done = set()

    def visit(path, above=()):
        assert path not in above, " → ".join(str(each.relative_to(ROOT)) for each in (*above, path))
        if path not in done:
            for each in below[path] - {path}:
                visit(each, (*above, path))
            done.add(path)

    for path in FILES:
        visit(path)
    assert len(done) == len(FILES)


def test_at_the_root_stands_only_the_ground():
    found = {path.stem for path in (ROOT / "semshard").glob("*.py")}
    assert found == {*GROUND, "__init__", "catalogue"}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_share_through_support_and_import_no_other_test(path):
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "tests are imported by their full name"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    parts = {part for module in modules for part in module.split(".") if module.split(".")[0] in ("tests", "conftest")}
    assert not {part for part in parts if part.startswith("test_") or part == "conftest"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_neither_prints_nor_draws_terminals(path):
    tree = ast.parse(path.read_text())
    words = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "print" not in words
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert not {module.split(".")[0] for module in modules} & {"typer", "rich", "click"}


@pytest.mark.parametrize("statement", ["import semshard", "import semshard_cli.main"])
def test_heavy_imports_wait_until_they_are_needed(statement):
    code = f"{statement}; import sys; print([m for m in ('torch', 'cv2', 'pyarrow', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
