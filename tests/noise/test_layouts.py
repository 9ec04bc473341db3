"""Between rows of channels and pixels: no value changes its place in the picture."""

import pytest
import torch

from semshard.noise.layouts import to_pixels, to_rows
from semshard.noise.scratch import Scratch


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(5, 8, 3, 8), (1, 7, 3, 13), (3, 1, 3, 1)], ids=str)
def test_rows_become_pixels_and_rows_again(shape, dtype):
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    n, height, _, width = shape
    scratch = Scratch(rows.device)
    pixels = to_pixels(rows, scratch.last("pixels", (n, 3, height, width), dtype))
    assert torch.equal(pixels, rows.transpose(1, 2))
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    again = scratch("rows", shape, dtype).zero_()
    assert torch.equal(to_rows(pixels, again), rows)
    assert torch.equal(again, rows), "it is written to the memory that was given"


def test_memory_is_used_again_and_grows_where_more_is_asked_for():
    scratch = Scratch(torch.device("cpu"))
    first = scratch("images", (4, 5), torch.float32)
    assert scratch("images", (2, 7), torch.float32).data_ptr() == first.data_ptr()
    assert scratch("images", (4, 5), torch.bfloat16).data_ptr() != first.data_ptr()
    assert scratch("other", (4, 5), torch.float32).data_ptr() != first.data_ptr()
    assert scratch("images", (6, 5), torch.float32).shape == (6, 5)
