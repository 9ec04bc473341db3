"""Trainings that stop and continue: exactly as if they had not, and in few bytes where their state is rounded."""

import math
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semshard.engine import Deadline, make_runtime, sgd
from semshard.engine.checkpoint import MOMENTUM_BITS, WEIGHT_BITS, Checkpoint, restore, round_state, rounded, snapshot
from semshard.engine.weights import bfloat16_where_exact, load_tensors, save_tensors
from semshard.errors import TimeIsUp
from semshard.settings import protect_config, verify_config
from semshard.victims import Attacker, LabelledImages, Supervision, VictimData, VictimRecipe, train_victim
from tests.support.devices import DEVICES

finite = st.floats(width=32, min_value=-(2.0**99), max_value=2.0**99, allow_subnormal=False)


@given(st.lists(finite, min_size=1, max_size=20), st.integers(2, 20))
def test_rounding_keeps_so_many_significant_bits_and_takes_the_nearest(values, bits):
    x = torch.tensor(values, dtype=torch.float32)
    for before, after in zip(x.tolist(), rounded(x, bits).tolist(), strict=True):
        mantissa, _ = math.frexp(after)
        assert float(mantissa * 2**bits).is_integer()
        if abs(before) > 1e-37:  # a subnormal number has fewer bits to keep
            _, exponent = math.frexp(before)
            assert abs(after - before) <= 2.0 ** (exponent - bits - 1), "more than half of the last bit kept"


def test_eight_bits_are_those_of_bfloat16():
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rounded(x, 8).to(torch.bfloat16).float(), rounded(x, 8))
    assert (rounded(x, 8) == x.to(torch.bfloat16).float()).float().mean() > 0.99, (
        "but for halves, that go to even there"
    )


def some_training(**given):
    config = protect_config("quick", (32, 32), "float32", {"round_every": 2, "steps": 5, **given})
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten())
    model = model.to(memory_format=torch.channels_last)
    optimiser = sgd(model, config)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimiser.step()
    return config, model, optimiser


@pytest.mark.parametrize(("done", "is_rounded"), [(1, False), (2, True), (3, False), (4, True), (5, True)])
def test_weights_and_momentum_are_rounded_every_so_many_steps_and_at_the_end(done, is_rounded):
    config, model, optimiser = some_training()
    before = snapshot(model, optimiser, done).tensors
    round_state(model, optimiser, config, done)
    after = snapshot(model, optimiser, done).tensors
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == ({"model.0.weight", "momentum.0"} if is_rounded else set())
    if is_rounded:
        assert torch.equal(after["model.0.weight"], rounded(before["model.0.weight"], WEIGHT_BITS))
        assert torch.equal(after["momentum.0"], rounded(before["momentum.0"], MOMENTUM_BITS))


def test_without_the_setting_nothing_is_rounded():
    config, model, optimiser = some_training(round_every=0)
    before = snapshot(model, optimiser, 4).tensors
    round_state(model, optimiser, config, 4)
    assert all(torch.equal(before[name], value) for name, value in snapshot(model, optimiser, 4).tensors.items())


def test_a_rounded_state_is_saved_in_few_bytes_and_comes_back_whole(tmp_path):
    config, model, optimiser = some_training()
    round_state(model, optimiser, config, 2)
    here = snapshot(model, optimiser, 2)
    save_tensors(tmp_path / "short", bfloat16_where_exact(here.tensors), {})
    kept = load_tensors(tmp_path / "short")[0]
    assert kept["model.0.weight"].dtype == kept["momentum.0"].dtype == torch.bfloat16
    _, other, theirs = some_training()
    restore(other, theirs, Checkpoint(2, kept))
    there = snapshot(other, theirs, 2)
    assert here.tensors.keys() == there.tensors.keys()
    assert all(torch.equal(here.tensors[name], there.tensors[name]) for name in here.tensors)
    assert all(value.dtype == there.tensors[name].dtype for name, value in here.tensors.items())


def test_values_that_bfloat16_does_not_hold_are_left_alone():
    tensors = {"a": torch.tensor([1.0, 1.5]), "b": torch.tensor([1.0, 0.1]), "n": torch.tensor(3)}
    kinds = {name: value.dtype for name, value in bfloat16_where_exact(tensors).items()}
    assert kinds == {"a": torch.bfloat16, "b": torch.float32, "n": torch.int64}


# --- victims ------------------------------------------------------------------------------------------------------


def pictures(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    return LabelledImages(images, torch.arange(count) % 3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("countermeasure", "rho_a", "given"),
    [
        ("none", 2 / 255, {}),
        ("none", 0.0, {"round_every": 2}),
        ("early-stop", 0.0, {"round_every": 2}),
        ("none", 2 / 255, {"schedule": "one-cycle", "nesterov": True, "step_share": 1.25}),
    ],
)
def test_a_victim_that_stops_and_continues_is_the_one_that_did_not(countermeasure, rho_a, given, device):
    runtime = make_runtime(device)
    config = verify_config(
        "quick", (32, 32), runtime.precision,
        {"steps": 5, "batch": 8, "steps_a": 1, "evaluations": 5, "lr_every": 2, "patience": 2, **given},
    )  # fmt: skip
    validation = (pictures(6, 2), pictures(6, 3)) if countermeasure == "early-stop" else None
    data = VictimData(pictures(20, 0), pictures(10, 1), validation)
    recipe = VictimRecipe(Attacker("small", rho_a, countermeasure), config, 3, 0)
    states = []
    whole = train_victim(runtime, data, recipe, Supervision(save=states.append, every=0))
    assert [state.checkpoint.step for state in states] == [1, 2, 3, 4]
    for begin in states:
        again = train_victim(runtime, data, recipe, Supervision(begin=begin))
        assert all(
            torch.equal(a, b)
            for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True)
        )
        assert (again.curve, again.stops, again.attacked) == (whole.curve, whole.stops, whole.attacked)
        assert torch.equal(again.correct, whole.correct)


# --- the deadline -------------------------------------------------------------------------------------------------


def test_a_deadline_lets_no_call_end_without_progress_and_begins_nothing_late():
    deadline = Deadline(0)
    deadline.begin("the first")
    assert deadline.must_stop_now()
    with pytest.raises(TimeIsUp, match="before the second"):
        deadline.begin("the second")


def test_a_deadline_is_near_where_the_next_stretch_would_pass_it():
    deadline = Deadline(0.5)
    time.sleep(0.05)
    assert not deadline.must_stop_now()
    time.sleep(0.3)
    assert deadline.must_stop_now(), "0.35 of 0.5 seconds are over, and the last stretch took 0.3"


def test_without_a_deadline_there_is_always_time():
    deadline = Deadline()
    assert not deadline.must_stop_now()
    deadline.begin("anything")
