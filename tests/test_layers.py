"""Imports point one way: cli → the stories → the rooms → models, config, errors; noise and shards never meet."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVELS = {
    "atomic": 0,
    "threads": 0,
    "config": 0,
    "errors": 0,
    "families": 0,
    "forms": 0,
    "metadata": 0,
    "progress": 0,
    "_version": 0,
    "models": 0,
    "radii": 0,
    "presets": 0,
}
LEVELS |= {"engine": 1, "grouping": 1, "noise": 1, "sources": 1, "shards": 1, "victims": 1}
STORIES = 2
FILES = sorted((ROOT / "semshard").rglob("*.py"))


def room(path):
    first = path.relative_to(ROOT / "semshard").parts[0]
    return first.removesuffix(".py")


def imported_rooms(path):
    """Rooms of semshard that a file imports."""
    package = ("semshard", *path.relative_to(ROOT / "semshard").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            names = [module] if len(module) > 1 else [(*module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == "semshard" and len(name) > 1)
        yield from ("cli" for name in names if name[0] in ("semshard_cli", "cli"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    if path == ROOT / "semshard" / "__init__.py":
        return
    here = room(path)
    for there in imported_rooms(path):
        assert there != "cli", "the library does not know the command line"
        assert LEVELS.get(there, STORIES) <= LEVELS.get(here, STORIES), f"{here} imports {there}"
        assert {here, there} != {"noise", "shards"}, "only the stories join noise and shards"


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
