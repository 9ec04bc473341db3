"""A source in the order of given names: its numbers do not move when files come and go."""

import pickle

import numpy as np
import pytest

from semshard.errors import RejectedImage
from semshard.sources import open_source
from semshard.sources.in_order import InOrder


def test_numbers_follow_the_names_and_a_vanished_file_keeps_its_own(images):
    source = open_source(images)
    names = [source.entry(number).name for number in (7, 3, 30)]
    (images / names[1]).unlink()
    (images / "disc" / "00.png").write_bytes(b"new, and first of all")
    ordered = InOrder(open_source(images), names)
    assert len(ordered) == 3
    assert [ordered.entry(number).name for number in range(3)] == names
    assert ordered.read(0) == (images / names[0]).read_bytes()
    with pytest.raises(RejectedImage, match="vanished"):
        ordered.read(1)
    assert ordered.entry(1).reason == "vanished"


def test_a_part_can_be_sent_to_another_process(images):
    source = open_source(images)
    names = [source.entry(number).name for number in np.random.default_rng(0).permutation(len(source))]
    (images / names[5]).unlink()
    ordered = InOrder(open_source(images), names)
    part = pickle.loads(pickle.dumps(ordered.part([9, 5, 2])))
    assert [part.entry(number).name for number in range(3)] == [names[9], names[5], names[2]]
    assert [part.read(0), part.read(2)] == [ordered.read(9), ordered.read(2)]
    with pytest.raises(RejectedImage, match="vanished"):
        part.read(1)
    assert (part.digest, part.classes, part.spec) == (ordered.digest, ordered.classes, ordered.spec)
