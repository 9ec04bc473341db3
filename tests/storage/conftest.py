"""One object store for the tests of this folder, and an empty place of each kind for each of them."""

import itertools
import os
from uuid import uuid4

import pytest

from semshard.storage import LocalPlace, ObjectPlace
from tests.support.object_store import QUICK, object_store, place_in

GIVEN = os.environ.get("SEMSHARD_TEST_PLACE")  # a URL: the properties of places are tested there, too

_numbers = itertools.count()


@pytest.fixture(scope="session")
def _store():
    with object_store() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        store.make_bucket("bucket")
        yield store


@pytest.fixture
def store(_store):
    """An S3 server that fails on request."""
    _store.faults.clear()
    _store.requests.clear()
    return _store


@pytest.fixture
def prefix():
    """A prefix of bucket/ that no other test uses."""
    return f"test-{next(_numbers)}"


@pytest.fixture(params=["local", "objects", *(["given"] if GIVEN else [])])
def new_place(request, tmp_path):
    """Makes empty places of one kind: a function."""
    if request.param == "given":
        return lambda: ObjectPlace(f"{GIVEN}/place-{uuid4()}", limits=QUICK)
    if request.param == "local":
        return lambda: LocalPlace(tmp_path / f"place-{next(_numbers)}")
    store = request.getfixturevalue("store")
    return lambda: place_in(store, f"s3://bucket/place-{next(_numbers)}")
