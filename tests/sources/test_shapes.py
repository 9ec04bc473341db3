"""The embedded default: ten classes, any number, the same for the same seed."""

import numpy as np
import pytest
from PIL import Image

from semshard.errors import SourceError
from semshard.sources import open_source
from semshard.sources.shapes import CLASSES, SHAPES, SIDE, Shapes, draw_shape, write_shapes


def test_there_are_ten_classes():
    expected = "disc square triangle star cross ring crescent nut bars sector"
    assert set(CLASSES) == set(expected.split())


def test_a_picture_depends_on_seed_and_number_only():
    assert np.array_equal(draw_shape(123, 4), draw_shape(123, 4))
    assert not np.array_equal(draw_shape(123, 4), draw_shape(123, 5))
    assert not np.array_equal(draw_shape(123, 4), draw_shape(133, 4))


def test_more_pictures_begin_with_the_same_ones():
    few, many = Shapes(10), Shapes(1000)
    assert all((few.read(n) == many.read(n)).all() for n in range(10))


def test_pictures_are_small_rgb():
    picture = draw_shape(7)
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8


@pytest.mark.parametrize("name", CLASSES)
def test_a_shape_has_an_inside_and_an_outside(name):
    y, x = np.mgrid[-1.5:1.5:61j, -1.5:1.5:61j]
    distance = SHAPES[name](x, y)
    assert 0.05 < (distance < 0).mean() < 0.6
    assert (distance[[0, -1]] > 0).all()
    assert (distance[:, [0, -1]] > 0).all()


def test_written_pictures_are_the_drawn_ones(tmp_path):
    write_shapes(tmp_path, 20)
    folder = open_source(tmp_path)
    assert len(folder) == 20
    assert set(folder.classes) == set(CLASSES)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "ring" / "0000015.png")), draw_shape(15))


@pytest.mark.parametrize("spec", ["shapes:", "shapes:0", "shapes:-1", "shapes:many", "shapes:1e3"])
def test_no_number_of_shapes(spec):
    with pytest.raises(SourceError, match="shapes:2000"):
        open_source(spec)
