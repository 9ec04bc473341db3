"""Training the surrogate: it continues after a stop as if there had been none, and leaves nothing changed behind."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semshard.engine import batch_numbers, make_runtime
from semshard.engine.checkpoint import Checkpoint
from semshard.engine.weights import bfloat16_where_exact, load_tensors, save_tensors
from semshard.noise import InnerPerturbation, NoiseCrafter, SurrogateTraining, add, initial_noise, new_surrogate
from semshard.noise.surrogate import shuffle_labels
from semshard.noise.views import make_view
from semshard.settings import levels, protect_config
from tests.support.devices import DEVICES

RUNTIME = make_runtime("cpu")
CONFIG = protect_config(
    "quick", (32, 32), RUNTIME.precision, {"steps": 5, "batch": 8, "steps_u": 2, "steps_a": 2, "lr_every": 2}
)


POOLED = replace(CONFIG, pool=20)


class Pictures:
    images = torch.randint(0, 256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    def __len__(self):
        return 20

    def batch(self, numbers):
        return self.images[numbers], numbers % 3, None


def training_of(config, runtime=RUNTIME):
    model, kept = new_surrogate(config, 3, (32, 32), runtime), initial_noise(config, 20, (32, 32), runtime)
    return SurrogateTraining.of(runtime, model, make_view(config, (32, 32))[0], config, kept)


def trained_on(runtime, config=CONFIG, states=None, **options):
    """The weights after a training; `states`, a list, receives a checkpoint after every step."""
    training = training_of(config, runtime)
    if states is not None:
        options["after_step"] = lambda done, loss: states.append(training.network.snapshot(done))
    return training.run(Pictures(), **options).state_dict()


trained = partial(trained_on, RUNTIME)


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("config", [CONFIG, POOLED], ids=["every visit anew", "noise kept"])
@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_training_ends_in_the_same_weights(stop, config, tmp_path):
    """From memory and from a file, which does not know how a tensor lay in memory. Step 4 has visited images twice."""
    saved, whole = [], trained(config)
    trained(config, until=stop, states=saved)
    assert saved[-1].step == stop
    assert same(whole, trained(config, begin=saved[-1]))
    save_tensors(tmp_path / "checkpoint", saved[-1].tensors, {})
    assert same(whole, trained(config, begin=Checkpoint(stop, load_tensors(tmp_path / "checkpoint")[0])))


def test_a_pool_keeps_the_noise_of_what_was_visited_and_nothing_else():
    training = training_of(POOLED)
    before, rows = training.persistent.clone(), torch.tensor([3, 5, 19])
    training.step(0, Pictures.images[rows], rows % 3, rows=rows)
    changed = (training.persistent != before).any(3).any(2).any(1)
    assert changed.nonzero().flatten().tolist() == rows.tolist()
    assert training.persistent.abs().max() <= levels(POOLED.rho_u)


def test_a_visit_goes_on_where_the_last_one_ended():
    """Of an untrained network whose weights stay: the loss at noise that was kept is lower than at new noise."""
    config = replace(POOLED, lr=0.0, steps_u=1, noise_step="none", noise_views=("none",), method="cell", steps=40)
    once, often = training_of(config), training_of(config)
    images, labels = Pictures.images[:8], torch.arange(8) % 3
    for number in range(8):
        often.step(number, images, labels)
    once.step(0, images, labels)
    network = once.network.folded

    def loss(kept):
        return torch.nn.functional.cross_entropy(network(add(images, kept[:8]).float() / 255), labels)

    assert loss(often.persistent) < loss(once.persistent) < loss(training_of(config).persistent)


def test_noise_before_the_first_visit_is_uniform_within_the_budget():
    noise = initial_noise(POOLED, 20, (32, 32), RUNTIME).flatten()
    counts = torch.bincount(noise.long() + 8, minlength=17)
    assert len(counts) == 17
    assert (counts / len(noise) - 1 / 17).abs().max() < 0.005
    assert torch.equal(noise, initial_noise(POOLED, 20, (32, 32), RUNTIME).flatten())
    assert initial_noise(CONFIG, 20, (32, 32), RUNTIME) is None


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stop", [2, 4])
def test_a_rounded_training_is_saved_in_few_bytes_and_ends_in_the_same_weights(stop, device, tmp_path):
    runtime = make_runtime(device)
    trained = partial(trained_on, runtime)
    config, saved = replace(CONFIG, round_every=2, precision=runtime.precision), []
    whole = trained(config)
    assert not same(whole, trained()), "rounding is a setting, since it changes the weights"
    trained(config, until=stop, states=saved)
    save_tensors(tmp_path / "short", bfloat16_where_exact(saved[-1].tensors), {})
    save_tensors(tmp_path / "long", saved[-1].tensors, {})
    assert (tmp_path / "short").stat().st_size < 0.6 * (tmp_path / "long").stat().st_size
    assert same(whole, trained(config, begin=Checkpoint(stop, load_tensors(tmp_path / "short")[0])))


def test_training_twice_gives_the_same_weights_and_another_seed_does_not():
    first = trained()
    assert same(first, trained())
    assert not same(first, new_surrogate(CONFIG, 3, (32, 32), RUNTIME).state_dict())


def test_training_does_not_touch_global_randomness():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    trained()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("training", [True, False])
def test_crafting_and_attacking_leave_the_model_as_it_was(training):
    model = new_surrogate(CONFIG, 3, (32, 32), RUNTIME)
    model.train(training)
    model.get_submodule("net.block1").eval()
    next(model.parameters()).requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    x, y = Pictures.images[:4].float() / 255, torch.arange(4) % 3
    view, _ = make_view(CONFIG, (32, 32))
    network = RUNTIME.folded(model)
    NoiseCrafter(network, view, CONFIG)(x, y, RUNTIME.generator(0))
    InnerPerturbation(0.02, 0.01, 2).perturb(network, x, y, RUNTIME.generator(0))
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert same(before, model.state_dict())


def test_every_sample_is_seen_once_an_epoch_even_when_batches_do_not_divide_it():
    stream = torch.cat([batch_numbers(20, 8, 1, step) for step in range(10)])
    for epoch in range(4):
        assert sorted(stream[20 * epoch : 20 * epoch + 20].tolist()) == list(range(20))
    assert stream[:20].tolist() != stream[20:40].tolist()


def test_batches_may_be_larger_than_the_collection():
    assert sorted(batch_numbers(3, 8, 0, 0).tolist()[:6]) == [0, 0, 1, 1, 2, 2]


def test_an_adversary_without_radius_does_nothing():
    x = Pictures.images[:2].float() / 255
    model = new_surrogate(CONFIG, 3, (32, 32), RUNTIME)
    zero = InnerPerturbation(0, 0, 9).perturb(RUNTIME.folded(model), x, torch.zeros(2, dtype=int), torch.Generator())
    assert not zero.any()


@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_a_share_of_the_labels_change_places_and_no_label_is_lost(count, share, seed):
    labels = torch.arange(count)
    found = shuffle_labels(labels, share, torch.Generator().manual_seed(seed))
    assert sorted(found.tolist()) == labels.tolist()
    moved = int((found != labels).sum())
    assert moved == (int(share * count) if int(share * count) > 1 else 0)


def test_every_label_changes_places_with_the_probability():
    stream, moved = torch.Generator().manual_seed(0), torch.zeros(10)
    for _ in range(3000):
        moved += shuffle_labels(torch.arange(10), 0.4, stream) != torch.arange(10)
    assert ((moved / 3000 - 0.4).abs() < 0.05).all()
