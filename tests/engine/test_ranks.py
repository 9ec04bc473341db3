"""How ranks share a batch: every part is computed once, and its random stream does not depend on their number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semshard.engine import Ranks
from semshard.engine.parts import parts
from semshard.errors import SettingError
from semshard.launch import Launch, launch
from tests.support.fake_cuda import GPU

CPU = torch.device("cpu")
VARIABLES = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "host", "MASTER_PORT": "1"}


@given(st.integers(1, 40), st.integers(0, 70))
def test_every_item_has_one_rank_and_none_has_two_more_than_another(size, count):
    shares = [Ranks(rank, size).share(range(count)) for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 300), st.integers(2, 9), st.sampled_from([CPU, GPU]))
def test_the_parts_of_a_batch_do_not_depend_on_the_number_of_ranks(count, size, device):
    here = Ranks(0, size).parts(count, device)
    assert here == Ranks(1, 2).parts(count, device)
    assert [row for part in here for row in range(part.start, part.stop)] == list(range(count))
    if device == CPU:
        assert here == parts(count, device)


def test_a_gpu_alone_takes_the_batch_whole_and_several_share_it():
    assert Ranks().parts(128, GPU) == [slice(0, 128)]
    assert len(Ranks(0, 2).parts(128, GPU)) == 8


def test_more_ranks_than_parts_are_refused_with_the_number_that_can_help():
    Ranks(0, 4).check_parts(128, CPU)
    with pytest.raises(SettingError, match="in 4 parts, so 5 processes cannot share it; start 4 at most"):
        Ranks(0, 5).check_parts(128, CPU)


def test_a_process_is_one_of_several_only_where_all_of_torchruns_variables_are_there(monkeypatch):
    for name in (*VARIABLES, "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES.items():
        assert launch() == Launch()
        monkeypatch.setenv(name, value)
    assert launch() == Launch(rank=3, size=8)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert launch() == Launch(3, 8, 1, 2)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launch() == Launch()
