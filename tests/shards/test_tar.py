"""Our tar bytes are those of the standard library."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semshard.shards.tar import end, entry

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-/", min_size=1, max_size=100).filter(
    lambda n: n == n.strip("/")
)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=2000)), max_size=30))
def test_the_bytes_are_those_of_tarfile(files):
    theirs = io.BytesIO()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    ours = b"".join(entry(name, data) for name, data in files)
    assert ours + end(len(ours)) == theirs.getvalue()


def test_a_name_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="does not fit"):
        entry("a" * 101, b"")
