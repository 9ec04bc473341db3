"""What travels to a worker that trains a victim: no pixels, but all that it needs to read the same ones."""

import pickle
import shutil

import numpy as np
import pytest

from semshard.errors import RunError
from semshard.inspection.originals import find_originals
from semshard.progress import silent
from semshard.settings import verify_config
from semshard.shards import open_shards
from semshard.sources import open_source
from semshard.sources.shapes import write_shapes
from semshard.verification.grid import first_round
from semshard.verification.load import load_dataset, open_dataset, with_test
from semshard.verification.parallel import works_of
from semshard.verification.victim_work import VictimOrder, train_each
from tests.support.verification import PLAIN, opened_inputs

SETTINGS = {name: value for name, value in PLAIN.items() if name != "preset"}


def opened(home, tmp_path, **more):
    return opened_inputs(home / "shards", tmp_path / "report", **SETTINGS, **more)


def there(dataset):
    """The dataset as another process opens it."""
    return open_dataset(pickle.loads(pickle.dumps(dataset.place)))


def same(a, b):
    arrays = ("labels", "clean", "protected", "train", "test")
    return a.keys == b.keys and a.digest == b.digest and all((getattr(a, n) == getattr(b, n)).all() for n in arrays)


def test_another_process_opens_the_same_images_by_a_hundredth_of_their_bytes(finished, tmp_path):
    inputs = opened(finished, tmp_path)
    works = list(works_of(inputs.dataset, inputs.trainer, list(first_round(inputs.trainer.config))))
    assert {len(pickle.dumps(work)) < inputs.dataset.size / 100 for work in works} == {True}
    assert same(there(inputs.dataset), inputs.dataset)


def test_originals_that_were_found_by_their_pixels_are_not_looked_for_again(finished):
    shutil.rmtree(finished / "shards.ledger")
    shards = open_shards(finished / "shards")
    originals = find_originals(shards, finished / "images")
    dataset = load_dataset(shards, originals, verify_config("quick", (32, 32), "float32", {"holdout": 0.3}), silent)
    assert dataset.place.originals.matches is not None
    assert len(pickle.dumps(dataset.place)) < dataset.size / 20
    assert same(there(dataset), dataset)


def test_images_to_test_on_and_samples_that_show_the_same_are_known_there_too(finished, tmp_path):
    inputs = opened(finished, tmp_path)
    write_shapes(tmp_path / "others", 20, seed=5)
    spec = str(tmp_path / "others")
    dataset = with_test(inputs.dataset, inputs.shards, open_source(spec), spec, silent)
    assert dataset.test.sum() > 0
    assert same(there(dataset), dataset)
    twins = load_dataset(inputs.shards, inputs.originals, inputs.trainer.config, silent, twins=((3, 1), (4, 1)))
    assert same(there(twins), twins)
    assert len({bool(twins.test[place]) for place in (1, 3, 4)}) == 1


def test_a_worker_that_reads_other_images_says_so(finished, tmp_path):
    inputs = opened(finished, tmp_path)
    (work, *_) = works_of(inputs.dataset, inputs.trainer, list(first_round(inputs.trainer.config)))
    order = VictimOrder(inputs.trainer)
    dataset = order.opened.of(work)
    dataset.clean[:] = np.roll(dataset.clean, 1, axis=1)
    with pytest.raises(RunError, match="a worker reads other images than the driver"):
        list(train_each(order, [work], silent))
