"""Tampering at random: audit finds all of it, and names nothing in a folder that nobody touched.

SEMSHARD_TEST_TAMPERINGS says how many there are, ten of each kind where it is not set.
"""

import os
import shutil
import stat
from collections import Counter, defaultdict

import pytest
from PIL import Image

import semshard
from semshard.sources.shapes import write_shapes
from tests.support.runs import TINY
from tests.support.tampered_folder import Folder
from tests.support.tampering import KINDS, tamper


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six shards of four small pictures, with the ledger."""
    home = tmp_path_factory.mktemp("tampered")
    write_shapes(home / "images", 24)
    for path in home.glob("images/*/*"):
        Image.open(path).resize((16, 16)).save(path)
    semshard.protect(home / "images", home / "shards", **TINY | {"shard_size": 4, "steps": 1})
    return Folder(home / "shards")


def found(shards):
    """What audit says; a `ShardError` names the file, too."""
    try:
        return semshard.audit(shards).failures
    except semshard.ShardError as error:
        return [str(error)]


def tampered(folder, numbers, alone=None):
    """By kind: how many tamperings there were, which passed, and how many audit finds without the ledger."""
    tried, passed, without = Counter(), defaultdict(list), Counter()
    for number in numbers:
        try:
            kind = tamper(folder, number)
            tried[kind] += 1
            if not found(folder.path):
                passed[kind].append(number)
            if alone is not None:
                shutil.copytree(folder.path, alone, symlinks=True, copy_function=link_or_copy)
                without[kind] += bool(found(alone))
                shutil.rmtree(alone)
        finally:
            folder.restore()
    return tried, dict(passed), without


def link_or_copy(source, target):
    """A copy, also of a pipe."""
    if stat.S_ISFIFO(os.lstat(source).st_mode):
        os.mkfifo(target)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def test_an_untouched_folder_passes(folder):
    assert semshard.audit(folder.path).failures == []


@pytest.mark.slow
def test_sixty_random_tamperings_are_found(folder):
    _, passed, _ = tampered(folder, range(60))
    assert passed == {}


@pytest.mark.slow
def test_ten_random_tamperings_of_each_kind_are_found(folder, tmp_path, capsys):
    count = int(os.environ.get("SEMSHARD_TEST_TAMPERINGS", 10 * len(KINDS)))
    tried, passed, without = tampered(folder, range(count), tmp_path / "alone")
    with capsys.disabled():
        print(f"\n{'tampering':32} {'tried':>6} {'found':>6} {'without the ledger':>19}")
        for kind, count in [*tried.items(), ("all", tried.total())]:
            lost = len(passed.get(kind, [])) if kind != "all" else sum(map(len, passed.values()))
            alone = without[kind] if kind != "all" else without.total()
            print(f"{kind:32} {count:6} {count - lost:6} {alone:19}")
    assert passed == {}
    always = [kind for kind in tried if not kind.endswith(("_resealed", "manifest"))]
    assert {kind: without[kind] for kind in always} == {kind: tried[kind] for kind in always}
