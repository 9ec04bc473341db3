"""The pair denoiser: it undoes noise that it has seen on other images, and any number of cores gives the same bits."""

import pytest
import torch

from semshard.cores import set_cores
from semshard.settings import protect_config
from semshard.victims import LabelledImages
from semshard.victims.denoiser import denoise, new_denoiser, train_denoiser
from semshard.victims.pairs import protect_own
from tests.support.networks import CPU

TILE = 8 * (2 * torch.randint(0, 2, (1, 3, 4, 4), generator=torch.Generator().manual_seed(9)) - 1)
PATTERN = TILE.repeat(1, 1, 4, 4)


def ignore(done, loss):
    """Nobody watches."""


def smooth(count, seed, side=16):
    """Smooth uint8 pictures (N, 3, side, side) that leave room for the pattern."""
    grids = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return (20 + 200 * torch.nn.functional.interpolate(grids, (side, side), mode="bicubic").clamp(0, 1)).to(torch.uint8)


def with_pattern(images):
    return (images + PATTERN).to(torch.uint8)


def train(steps, clean):
    return train_denoiser(CPU, with_pattern(clean), clean, steps=steps, batch=32, seed=0, report=ignore)


@pytest.mark.slow
def test_a_known_pattern_is_mostly_removed_from_images_that_it_has_not_seen():
    model, unseen = train(120, smooth(64, 0)), smooth(40, 1)
    left = (denoise(CPU, model, with_pattern(unseen)).float() - unseen.float()).abs().mean()
    assert left < 1, "of 8 grey levels"


def test_an_untrained_denoiser_leaves_images_as_they_are_whatever_their_size():
    images = smooth(3, 0, 19)[:, :, :, :14]
    assert torch.equal(denoise(CPU, new_denoiser(0, CPU), images), images)


def test_any_number_of_cores_gives_the_same_denoiser_and_the_same_images():
    found = []
    for cores in (1, 2):
        set_cores(cores)
        try:
            model = train(3, smooth(40, 0))
            found.append([*model.state_dict().values(), denoise(CPU, model, smooth(40, 1))])
        finally:
            set_cores(None)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize("method", ["sem", "tap", "ntga", "sc", "em"])
def test_own_images_are_protected_within_the_budget_and_by_another_seed_otherwise(method):
    settings = {"method": method, "steps": 2, "batch": 8, "steps_u": 1, "steps_a": 1, "final_steps": 2}
    protection = protect_config("quick", (16, 16), "float32", settings)
    own = LabelledImages(smooth(10, 0), torch.arange(10) % 5)
    one, again, other = (protect_own(CPU, own, protection, 5, seed, ignore) for seed in (1, 1, 2))
    assert one.dtype == torch.uint8
    assert 0 < (one.int() - own.images.int()).abs().max() <= 8
    assert torch.equal(one, again)
    assert method == "ntga" or not torch.equal(one, other), "ntga draws nothing"


def test_own_images_are_protected_with_a_pool_where_the_collection_was():
    own = LabelledImages(smooth(10, 0), torch.arange(10) % 5)
    made = []
    for pool in (0, 4, 10, 50):
        settings = {"pool": pool, "label_noise": 1.0, "steps": 2, "batch": 8, "steps_u": 1, "steps_a": 1}
        made.append(protect_own(CPU, own, protect_config("quick", (16, 16), "float32", settings), 5, 1, ignore))
    assert torch.equal(made[2], made[3]), "a pool holds at most all images"
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[1], made[2])
