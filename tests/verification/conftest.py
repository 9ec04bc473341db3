"""A verified output that several tests read."""

import pytest

import semshard
from tests.support.runs import copy_of
from tests.support.verification import PLAIN


@pytest.fixture(scope="session")
def _verified(_finished, tmp_path_factory):
    home = copy_of(_finished, tmp_path_factory.mktemp("verified") / "home")
    return home, semshard.verify(home / "shards", rho_a=["0", "2/255"], **PLAIN)


@pytest.fixture
def verified(_verified, tmp_path):
    """images/, shards/, shards.ledger/ and shards.report/, for this test alone, and what verify found."""
    home, found = _verified
    return copy_of(home, tmp_path / "verified"), found
