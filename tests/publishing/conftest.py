"""Finished folders of every format, each made once."""

import shutil

import pytest

from tests.support.formats import write_formats


@pytest.fixture(scope="session")
def formats(tmp_path_factory):
    """The home of `write_formats`, to be read only."""
    home = tmp_path_factory.mktemp("formats")
    write_formats(home)
    return home


@pytest.fixture
def folder(formats, tmp_path):
    """What copies the folder of a format, with its ledger, for this test alone."""

    def copy(name):
        shutil.copytree(formats / name, tmp_path / name)
        return tmp_path / name / "out"

    return copy
