"""SimCLR: the loss is the paper's, features know no label, and the last layer is the logistic regression of them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import semshard
from semshard.models import head
from semshard.noise.views import CropFlip, make_view
from semshard.settings import verify_config
from semshard.verification.request import VerifyRequest
from semshard.victims import (
    Attacker,
    LabelledImages,
    Supervision,
    VictimData,
    VictimRecipe,
    attackers,
    train_victim,
)
from semshard.victims import simclr as method
from semshard.victims.refit import PENALTY
from semshard.victims.simclr import TEMPERATURE, nt_xent, projection_of, seen, with_fitted_head, with_projection
from tests import reference
from tests.support.networks import CPU, used

SIZE = (16, 16)
SIMCLR = Attacker("small", 0, "simclr")


def projections(pairs, seed):
    """Projections of the two views of so many images, float64, and the numbers of the images."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2 * pairs, 5, dtype=torch.float64, generator=generator)
    return drawn, torch.arange(pairs).repeat_interleave(2)


def pictures(count, seed, size=SIZE):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 5
    images = torch.randint(0, 120, (count, 3, *size), generator=generator) + 30 * labels[:, None, None, None]
    return LabelledImages(images.to(torch.uint8), labels)


def victim(train, attacker=SIMCLR, supervision=None, **settings):
    """A victim of a few steps on those images, tested twice."""
    config = verify_config("quick", SIZE, "float32", {"steps": 2, "batch": 10, "evaluations": 2} | settings)
    recipe = VictimRecipe(attacker, config, 5, 0)
    return train_victim(CPU, VictimData(train, pictures(30, 1)), recipe, supervision)


@given(pairs=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_loss_is_equation_1(pairs, seed):
    drawn, numbers = projections(pairs, seed)
    expected = reference.nt_xent(drawn[::2], drawn[1::2], TEMPERATURE)
    torch.testing.assert_close(nt_xent(drawn, numbers), expected)


@given(pairs=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_loss_depends_neither_on_the_order_of_views_nor_on_their_length(pairs, seed):
    drawn, numbers = projections(pairs, seed)
    order = torch.randperm(2 * pairs, generator=torch.Generator().manual_seed(seed))
    expected = nt_xent(drawn, numbers)
    torch.testing.assert_close(nt_xent(drawn[order], numbers[order]), expected)
    torch.testing.assert_close(nt_xent(drawn * (1 + torch.arange(2 * pairs))[:, None], numbers), expected)


def test_the_gradient_of_the_loss_is_that_of_finite_differences():
    drawn, numbers = projections(4, 0)
    assert torch.autograd.gradcheck(lambda each: nt_xent(each, numbers), drawn.requires_grad_())


@pytest.mark.parametrize("view", ["crop-flip", "resized-crop"])
def test_views_are_images_and_both_of_a_pair_differ(view):
    config = verify_config("quick", SIZE, "float32", {"views": view, "crop": 16 if view == "resized-crop" else 0})
    family, size = make_view(config, SIZE)
    images, generator = pictures(40, 0).images.float() / 255, torch.Generator().manual_seed(0)
    first, second = (seen(images, family, generator) for _ in range(2))
    assert first.shape == (40, 3, *size)
    assert 0 <= first.min() <= first.max() <= 1
    assert (first - second).abs().amax((1, 2, 3)).min() > 0
    assert isinstance(family, CropFlip) == (view == "crop-flip")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "resnet18", "vgg16-paper"])
def test_a_projection_takes_the_place_of_the_last_layer_and_nothing_else_changes(name):
    before = used(name, torch.float32)
    last, layer = head(before)
    weights = {key: value for key, value in before.state_dict().items() if not key.startswith(f"{last}.")}
    model = with_projection(used(name, torch.float32), 0).eval()
    assert projection_of(model)[0] == last
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, method.PROJECTED)
    view, _ = make_view(verify_config("quick", (32, 32), "float32", {}), (32, 32))
    fitted = with_fitted_head(CPU, model, view, pictures(25, 0, (32, 32)), 5, 0)
    assert projection_of(model), "the training goes on with it"
    assert head(fitted)[1].weight.shape == layer.weight.shape
    for found in (model.state_dict(), fitted.state_dict()):
        assert all(torch.equal(found[key], value) for key, value in weights.items())


def test_the_last_layer_is_the_logistic_regression_of_frozen_features(monkeypatch):
    """Where the gradient of summed cross-entropy and penalty vanishes, by the features that a hook sees."""
    monkeypatch.setattr(method, "FITTED", 40)
    train, found = pictures(60, 0), []
    view, _ = make_view(verify_config("quick", SIZE, "float32", {}), SIZE)
    fitted = with_fitted_head(CPU, with_projection(used("small", torch.float32), 0), view, train, 5, 3)
    layer = head(fitted)[1]
    layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].double()))
    chosen = method.permutation(60, 3, "labelled")[:40].sort()[0]
    with torch.no_grad():
        fitted(train.images[chosen].float() / 255)
    mean, spread = found[0].mean(0), found[0].std(0, correction=0).clamp(min=1e-6)
    weight = (layer.weight.detach().double() * spread).requires_grad_()
    bias = (layer.bias + layer.weight @ mean.float()).detach().double().requires_grad_()
    scores = (found[0] - mean) / spread @ weight.T + bias
    loss = F.cross_entropy(scores, train.labels[chosen], reduction="sum") + PENALTY / 2 * (weight**2).sum()
    gradients = torch.autograd.grad(loss, (weight, bias))
    assert max(float(each.abs().max()) for each in gradients) < 1e-2


def test_features_know_no_label():
    train = pictures(40, 0)
    others = LabelledImages(train.images, train.labels[torch.randperm(40, generator=torch.Generator().manual_seed(0))])
    ours, theirs = victim(train), victim(others)
    apart = [
        name
        for name, value in ours.model.state_dict().items()
        if not torch.equal(value, theirs.model.state_dict()[name])
    ]
    assert apart == ["net.head.weight", "net.head.bias"]
    assert victim(train, Attacker("small", 0)).model.state_dict().keys() == ours.model.state_dict().keys()


def test_a_training_that_was_stopped_half_way_goes_on_to_the_same_bits():
    states = []
    whole = victim(pictures(40, 0), steps=4, supervision=Supervision(save=states.append, every=0))
    resumed = victim(pictures(40, 0), steps=4, supervision=Supervision(begin=states[1]))
    assert states[1].checkpoint.step == 2
    assert resumed.curve == whole.curve
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_squashed_photographs_are_cropped_by_the_sizes_that_they_have():
    train = pictures(20, 0)
    sizes = [torch.tensor([[40, 20]]).expand(20, 2), torch.tensor([[20, 40]]).expand(20, 2)]
    settings = {"views": "resized-crop", "crop": 16}
    one, other = (victim(replace(train, sizes=each), **settings).model.state_dict() for each in sizes)
    assert not torch.equal(one["net.stem.weight"], other["net.stem.weight"])


@pytest.mark.parametrize(
    ("more", "words"), [({"rho_a": 4 / 255}, "radius 0 only"), ({"start": "probe"}, "start it from scratch or full")]
)
def test_there_is_no_adversary_without_labels_and_no_training_behind_a_probe(more, words):
    with pytest.raises(semshard.SettingError, match=words):
        Attacker(**({"network": "small", "rho_a": 0, "countermeasure": "simclr"} | more))


def asked(**settings):
    """The countermeasures, radii and starts of a request, and what it says is left out."""
    said = []
    request = VerifyRequest("shards", preset="quick", device="cpu", progress=said.append, settings=settings)
    config = request.config(SIZE, request.runtime())
    found = [(each.countermeasure, each.rho_a, each.start) for each in attackers(config)]
    return found, [event.message for event in said if "simclr" in event.message]


def test_what_cannot_be_is_left_out_with_a_sentence_or_refused_in_one():
    found, said = asked(countermeasure="grey,simclr", rho_a="0,4/255")
    assert found == [("grey", 0, "scratch"), ("grey", 4 / 255, "scratch"), ("simclr", 0, "scratch")]
    assert len(said) == 1
    assert asked(countermeasure="simclr", rho_a="0") == ([("simclr", 0, "scratch")], [])
    assert asked(attackers="all")[1] == []
    with pytest.raises(semshard.SettingError, match="radius 0 only"):
        asked(countermeasure="simclr")
