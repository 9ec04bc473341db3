"""Last-layer retraining: the last layer alone is fitted, and it is the least penalised cross-entropy."""

import pytest
import torch
import torch.nn.functional as F

from semshard.noise.views import make_view
from semshard.settings import verify_config
from semshard.victims import Attacker, LabelledImages, VictimData, VictimRecipe, train_victim
from semshard.victims.refit import PENALTY, logistic_regression, with_refitted_head
from tests.support.networks import CPU, used

SIZE = (32, 32)


def pictures(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 5
    images = torch.randint(0, 120, (count, 3, *SIZE), generator=generator) + 30 * labels[:, None, None, None]
    return LabelledImages(images.to(torch.uint8), labels)


@pytest.mark.parametrize("name", ["small", "resnet18", "vgg16-paper"])
def test_only_the_last_layer_changes_and_the_network_itself_does_not(name):
    model = used(name, torch.float32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    view, _ = make_view(verify_config("quick", SIZE, "float32", {}), SIZE)
    refitted = with_refitted_head(CPU, model, view, pictures(25, 0))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    changed = {key for key, value in refitted.state_dict().items() if not torch.equal(value, before[key])}
    *_, (last, _) = ((key, module) for key, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    assert changed == {f"{last}.weight", f"{last}.bias"}


def test_the_fit_is_where_the_gradient_vanishes():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 7, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (60,), generator=generator)
    weight, bias = (each.requires_grad_() for each in logistic_regression(features, labels, 3))
    loss = F.cross_entropy(features @ weight.T + bias, labels, reduction="sum") + PENALTY / 2 * (weight**2).sum()
    gradients = torch.autograd.grad(loss, (weight, bias))
    assert max(float(each.abs().max()) for each in gradients) < 1e-3


def test_a_victim_is_refitted_wherever_it_is_tested_and_trains_as_without_it():
    config = verify_config("quick", SIZE, "float32", {"steps": 4, "batch": 10, "evaluations": 2})
    train, test, own = pictures(40, 0), pictures(30, 1), pictures(20, 2)
    shuffled = LabelledImages(train.images, (train.labels + 1) % 5)
    plain = train_victim(CPU, VictimData(shuffled, test), VictimRecipe(Attacker("small", 0), config, 5, 0))
    recipe = VictimRecipe(Attacker("small", 0, "refit"), config, 5, 0)
    refitted = train_victim(CPU, VictimData(shuffled, test, own=own), recipe)
    apart = [
        key
        for key, value in plain.model.state_dict().items()
        if not torch.equal(value, refitted.model.state_dict()[key])
    ]
    assert apart == ["net.head.weight", "net.head.bias"]
    assert refitted.final > plain.final, "it was trained on wrong labels, and refitted on right ones"
