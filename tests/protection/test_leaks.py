"""The example that measures what a leaked ledger gives away, in a small form."""

import json

import pytest
import torch

from semshard.engine import load_tensors, make_runtime
from semshard.shards import open_shards
from semshard.sources.shapes import write_shapes
from semshard.verification.inputs import public_settings
from tests.support.examples import load_example
from tests.support.runs import TINY

TINIER = {name: value for name, value in TINY.items() if name not in ("preset", "steps", "seed")}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The example, its folder, and a way to call it once more."""
    home, leaks = tmp_path_factory.mktemp("leaks"), load_example("leaks")
    write_shapes(home / "images", 60)

    def measure():
        leaks.main(str(home / "images"), str(home / "out"), "20", "3", "1", "2", **TINIER)
        return json.loads((home / "out" / "leaks.json").read_text())

    return leaks, home / "out", measure


@pytest.mark.slow
def test_the_less_is_private_the_more_of_the_noise_is_known(measured):
    _, _, measure = measured
    figures = measure()
    exact = {row[0]: row[1] for row in figures["leaks"]["rows"]}
    everything = exact["manifest, surrogate, seed"]
    assert exact["originals"] == 100
    assert everything > exact["manifest, surrogate"]
    assert everything > 2 * exact["chance: the noise of another image"]
    assert [row[0] for row in figures["longer"]["rows"]] == [1, 2, 5, 10, 20]
    assert measure() == figures, "what is finished is not made again"


@pytest.mark.slow
def test_who_has_surrogate_and_seed_sees_that_a_guess_of_the_original_is_right(measured):
    leaks, out, measure = measured
    measure()
    published, shards, runtime = leaks.look_at(out / "shards"), open_shards(out / "shards"), make_runtime("cpu")
    attack = leaks.Attack(runtime, published, public_settings(shards, runtime), None, shards.directory, out)
    model = attack._model(published.config)
    model.load_state_dict(load_tensors(out / "shards.ledger" / "surrogate.safetensors")[0])
    noise = attack.noise(model.eval(), published.config, published.originals)
    again = (published.originals.short() + noise).clamp(0, 255)
    assert torch.equal(again, published.images.short())
