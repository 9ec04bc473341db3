"""A run whose surrogate has two networks: stopped in either training, it goes on to the same bytes."""

import pytest

import semshard
from semshard.engine import Deadline
from semshard.errors import TimeIsUp
from semshard.protection import surrogate as trainings
from tests.support.runs import TINY, public_bytes

SETTINGS = TINY | {"push_steps": 4, "final_views": "grey=0.4"}


@pytest.mark.slow
def test_one_file_holds_both_networks_and_nothing_else_is_left(images, tmp_path):
    semshard.protect(images, tmp_path / "shards", **SETTINGS)
    ledger = tmp_path / "shards.ledger"
    assert {path.name for path in ledger.glob("*.safetensors")} == {"surrogate.safetensors"}
    assert semshard.audit(tmp_path / "shards").ok
    assert semshard.protect(images, tmp_path / "shards", **SETTINGS).made == 0
    (tmp_path / "shards" / "00001.tar").unlink()
    before = (tmp_path / "shards" / "00000.tar").read_bytes()
    assert semshard.repair(tmp_path / "shards").remade == 1
    assert (tmp_path / "shards" / "00000.tar").read_bytes() == before
    assert semshard.protect(images, tmp_path / "given", surrogate=ledger / "surrogate.safetensors", **SETTINGS)
    assert public_bytes(tmp_path / "given") == public_bytes(tmp_path / "shards")


class Stop(Deadline):
    """Ends a training after so many questions."""

    def __init__(self, questions):
        super().__init__()
        self.left = questions

    def must_stop_now(self):
        self.left -= 1
        return self.left < 0


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 4, 5])
def test_a_training_that_is_stopped_goes_on_to_the_same_bytes(images, tmp_path, monkeypatch, stop):
    whole = trainings.train_surrogate
    semshard.train(images, tmp_path / "calm", **SETTINGS)
    monkeypatch.setattr(trainings, "train_surrogate", lambda *given: whole(*given, Stop(stop)))
    with pytest.raises(TimeIsUp):
        semshard.train(images, tmp_path / "stopped", **SETTINGS)
    monkeypatch.undo()
    semshard.train(images, tmp_path / "stopped", **SETTINGS)
    assert (tmp_path / "stopped").read_bytes() == (tmp_path / "calm").read_bytes()
