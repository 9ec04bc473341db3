"""Counter-noise: within 8 grey levels, up the loss of a network that reads the shortcut."""

import torch
import torch.nn.functional as F

from semshard.cores import set_cores
from semshard.settings import verify_config
from semshard.victims import LabelledImages
from semshard.victims.counter_noise import train_network, with_counter_noise
from tests.support.networks import CPU

CONFIG = verify_config("quick", (12, 12), "float32", {"steps": 100, "batch": 16})


def shortcuts(count=40):
    """Random pictures, each with the pattern of its class."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(-16, 17, (4, 3, 12, 12), generator=generator)
    labels = torch.arange(count) % 4
    images = torch.randint(100, 150, (count, 3, 12, 12), generator=generator) + patterns[labels]
    return LabelledImages(images.to(torch.uint8), labels)


def ignore(done, loss):
    """Nobody watches."""


def learned(cores, data):
    set_cores(cores)
    try:
        model = train_network(CPU, data, 4, CONFIG, ignore)
        return model, with_counter_noise(CPU, model, data, 0)
    finally:
        set_cores(None)


def test_counter_noise_raises_the_loss_within_8_grey_levels_and_keeps_labels():
    data = shortcuts()
    model, noisy = learned(1, data)
    assert noisy.images.dtype == torch.uint8
    assert 0 < (noisy.images.int() - data.images.int()).abs().max() <= 8
    assert torch.equal(noisy.labels, data.labels)
    with torch.no_grad():
        plain, raised = (F.cross_entropy(model(each.images.float() / 255), each.labels) for each in (data, noisy))
    assert plain < 1, "it has learned the shortcut"
    assert raised > 1.5 * plain


def test_any_number_of_cores_gives_the_same_counter_noise():
    data = shortcuts()
    assert torch.equal(learned(1, data)[1].images, learned(2, data)[1].images)
