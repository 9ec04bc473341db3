"""Views of several photographs as matrix products: what they show, and that the adjoint is the adjoint."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semshard.noise.photo_groups import Crops, resample_all, restore_all
from semshard.noise.scratch import Scratch
from semshard.noise.views.balanced_crops import even_boxes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("draws", [1, 3])
def test_the_products_of_several_views_are_those_of_each_and_their_adjoint(dtype, draws):
    boxes = torch.from_numpy(even_boxes(np.array([(50, 70)] * 2), 2 * draws, np.random.default_rng(0)))
    by = Crops(boxes.unflatten(1, (2, draws)), (50, 70), 16, dtype).matrices(1, 0, draws)
    x = torch.rand(2, 50, 3, 70, generator=torch.Generator().manual_seed(0)).to(dtype)
    g = torch.rand(2 * draws, 16, 3, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    scratch = Scratch(x.device)
    seen, back = resample_all(x, by, scratch), torch.empty_like(x)
    restore_all(g, by, scratch, back)
    exact = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    inner = [(a.double() * b.double()).sum() for a, b in ((seen, g), (x, back))]
    torch.testing.assert_close(*inner, rtol=exact, atol=0)
    for image in range(2):
        for draw in range(draws):
            top, left, height, width, flip = boxes[image, draws + draw].long().tolist()
            crop = x[image].float().transpose(0, 1)[None, :, top : top + height, left : left + width]
            alone = F.interpolate(crop, (16, 16), mode="bilinear", antialias=True)
            alone = alone.flip(3) if flip else alone
            shown = seen[image * draws + draw].float().transpose(0, 1)[None]
            torch.testing.assert_close(shown, alone, rtol=0, atol=exact)
