"""A reproduction in pieces: on one machine or carried from one to the next, it ends in the same bits as in one."""

import json
import shutil

import pytest
import torch
from PIL import Image

import semshard
from semshard.engine import sgd
from semshard.engine.checkpoint import round_state, snapshot
from semshard.engine.weights import bfloat16_where_exact, load_tensors, save_tensors
from semshard.errors import LedgerError, SettingError, TimeIsUp
from semshard.models import build
from semshard.reproduction.bundle import PART_BYTES, pack, unpack
from semshard.settings import verify_config
from semshard.sources.shapes import write_shapes
from tests.support import reproduction
from tests.support.reproduction import VICTIM

CELLS = ("SEM:4/255", "Clean Data:4/255", "Clean Data:0", "Control:4/255", "SC:4/255")
PROTECTION = {**reproduction.SMALL, "steps": 5, "round_every": 2}
PIECE = 1e-9  # minutes: a call stops as soon as it has moved


def table(images, out, **more):
    settings = {**VICTIM, "round_every": 2, **more}
    return semshard.reproduce(
        "table2", images, out, cells=CELLS, protection=PROTECTION, device="cpu", **settings
    )  # fmt: skip


def figures(result):
    return [(cell.row, cell.column, cell.ours, cell.best) for cell in result.cells]


def public(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("protected/sem-*/*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The pictures, and the table made of them in one piece."""
    home = tmp_path_factory.mktemp("whole")
    write_shapes(home / "images", 40)
    return home, table(home / "images", home / "out")


@pytest.mark.slow
def test_in_pieces_on_one_machine_it_is_the_same(whole, tmp_path):
    home, expected = whole
    stops = []
    for _ in range(40):
        try:
            result = table(home / "images", tmp_path / "out", minutes=PIECE)
        except TimeIsUp as stop:
            stops.append(str(stop))
            assert "run the same command" in stops[-1]
        else:
            break
    assert len(stops) >= 3 + 5, "a surrogate of five steps and five victims of four, rounded after every second step"
    assert any("the surrogate stands at step 2 of 5" in stop for stop in stops)
    assert figures(result) == figures(expected)
    assert public(tmp_path / "out") == public(home / "out")
    assert not list((tmp_path / "out").glob("victim-*")), "nothing of a finished training waits any more"


@pytest.mark.slow
def test_carried_to_a_bare_machine_after_every_piece_it_is_the_same(whole, tmp_path):
    home, expected = whole
    state, published, largest = tmp_path / "state", {}, 0
    for number in range(40):
        out = tmp_path / f"machine-{number}"
        try:
            result = table(home / "images", out, minutes=PIECE, state=state)
            stopped = False
        except TimeIsUp:
            stopped = True
        published |= public(out)
        files = [path.stat().st_size for path in state.iterdir()]
        assert len(files) <= 8
        assert max(files) <= 16 << 20
        largest = max(largest, sum(files))
        shutil.rmtree(out)
        if not stopped:
            break
    assert number >= 8
    assert figures(result) == figures(expected)
    assert published == public(home / "out"), "the noise was crafted again, and is the same"
    assert largest > sum(path.stat().st_size for path in state.iterdir()), "at the end only figures are carried"
    assert {part["part"] for part in result.parts} >= {"surrogate for SEM, 4/255", "victim for Control, 4/255"}
    assert {"source", "surrogate for SEM, 4/255", "images for SEM, 4/255"} <= result.digests.keys()


def test_a_carried_surrogate_lies_in_two_bytes_a_weight(whole):
    home, _ = whole
    (path,) = (home / "out" / "surrogates").glob("sem-*.safetensors")
    kinds = {str(value.dtype) for value in load_tensors(path)[0].values() if value.dim() > 1}
    assert kinds == {"torch.bfloat16"}


@pytest.mark.slow
def test_without_rounding_a_training_may_stop_after_any_step(whole, tmp_path):
    home, _ = whole
    one = table(home / "images", tmp_path / "one", round_every=0)
    stops = []
    for _ in range(60):
        try:
            result = table(home / "images", tmp_path / "out", minutes=PIECE, round_every=0)
        except TimeIsUp as stop:
            stops.append(str(stop))
        else:
            break
    assert any("stands at step 3 of 4" in stop for stop in stops), "no multiple of two"
    assert figures(result) == figures(one)


def test_the_result_says_what_was_done_where_and_how_fast(whole):
    home, result = whole
    assert [cell.paper for cell in result.cells if cell.row == "Control"] == [None]
    (machine,) = result.machines.values()
    assert machine["matrix_product"] > 0
    assert machine["memory_copy"] > 0
    assert result.protections["SEM, 4/255"]["round_every"] == PROTECTION["round_every"]
    of = {part["part"]: part for part in result.parts}
    planned = semshard.plan_reproduction(
        "table2", home / "images", cells=CELLS, protection=PROTECTION, device="cpu", rates=(1e9, 1e9),
        **VICTIM, round_every=2,
    )  # fmt: skip
    assert [part.part for part in planned] == list(of), "in the order in which they are named, SEM's images first"
    for part in planned:
        if part.flop:
            assert of[part.part]["flop"] == pytest.approx(part.flop)
            assert part.seconds == max(part.flop, part.bytes) / 1e9
    text = (home / "out" / "table2.md").read_text()
    assert "| victim for SEM, 4/255 |" in text
    on_disk = json.loads((home / "out" / "table2.json").read_text())
    assert on_disk["parts"] == result.parts
    assert "at step" not in text


@pytest.mark.slow
def test_test_images_of_their_own_leave_all_others_to_train_on(whole, tmp_path):
    home, _ = whole
    write_shapes(tmp_path / "test", 30, seed=7)
    twin = next((home / "images").glob("*/*"))
    shutil.copy(twin, tmp_path / "test" / twin.parent.name / "twin.png")
    events = []
    result = semshard.reproduce(
        "table2", home / "images", tmp_path / "out", cells=["Clean Data:0"], test=tmp_path / "test",
        protection={"shard_size": 16}, progress=events.append, **VICTIM,
    )  # fmt: skip
    assert result.samples == {"train": 40, "test": 30}
    assert any("1 test images have the pixels of a training image" in event.message for event in events)
    assert "test" in result.digests
    shutil.copytree(twin.parent, tmp_path / "test" / "strange")
    with pytest.raises(SettingError, match="other classes than the training images: strange"):
        semshard.reproduce(
            "table2", home / "images", tmp_path / "other", cells=["Clean Data:0"], test=tmp_path / "test", **VICTIM
        )
    assert not (tmp_path / "other" / "protected").exists(), "before anything is made"
    for path in (home / "images").glob("*/*"):
        large = tmp_path / "large" / path.parent.name / path.name
        large.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((40, 40)).save(large)
    with pytest.raises(SettingError, match="images of another size"):
        semshard.reproduce(
            "table2", home / "images", tmp_path / "other", cells=["Clean Data:0"], test=tmp_path / "large", **VICTIM
        )
    with pytest.raises(SettingError, match="no image that is not trained on"):
        semshard.reproduce(
            "table2", home / "images", tmp_path / "other", cells=["Clean Data:0"], test=home / "images", **VICTIM
        )


def test_a_figure_is_made_in_one_call_and_has_no_plan_and_minutes_are_positive(whole, tmp_path):
    home, _ = whole
    with pytest.raises(SettingError, match="in one piece"):
        semshard.reproduce("figure3", home / "images", tmp_path / "out", minutes=1)
    with pytest.raises(SettingError, match="figure3 has no plan"):
        semshard.plan_reproduction("figure3", home / "images")
    with pytest.raises(SettingError, match="must be above 0"):
        table(home / "images", tmp_path / "out", minutes=0)


@pytest.mark.slow
def test_the_papers_network_and_half_a_victim_fit_in_eight_files(tmp_path):
    """The worst there is to carry: a surrogate, and the weights and momentum of a victim."""
    home, files = tmp_path / "home", {}
    for name in ("surrogate", "victim"):
        config = verify_config("paper", (32, 32), "float32", {"round_every": 1})
        model = build("resnet18", 10, (32, 32), seed=len(files))
        optimiser = sgd(model, config)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        optimiser.step()
        round_state(model, optimiser, config, 1)
        tensors = snapshot(model, optimiser, 1).tensors
        kept = {key: value for key, value in tensors.items() if name == "victim" or key.startswith("model")}
        files[f"{name}.safetensors"] = bfloat16_where_exact(kept)
    home.mkdir()
    for name, tensors in files.items():
        save_tensors(home / name, tensors, {})
    pack(home, list(files), tmp_path / "state")
    sizes = [path.stat().st_size for path in (tmp_path / "state").iterdir()]
    assert len(sizes) <= 8
    assert max(sizes) <= 16 << 20
    assert sum(sizes) <= 44 << 20
    unpack(tmp_path / "state", tmp_path / "there")
    for name, tensors in files.items():
        unpacked = load_tensors(tmp_path / "there" / name)[0]
        assert all(torch.equal(unpacked[key], value) for key, value in tensors.items())


# --- the state ----------------------------------------------------------------------------------------------------


def test_what_is_packed_comes_out_again_and_old_parts_go(tmp_path):
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    random = bytes(range(256)) * 10
    (home / "deep" / "a.bin").write_bytes(random)
    (home / "b.json").write_text("{}")
    first = pack(home, ["b.json", "deep/a.bin"], tmp_path / "state")
    assert first == sum(path.stat().st_size for path in (tmp_path / "state").glob("*.part"))
    assert unpack(tmp_path / "state", tmp_path / "there")
    assert (tmp_path / "there" / "deep" / "a.bin").read_bytes() == random
    pack(home, ["b.json"], tmp_path / "state")
    assert len(list((tmp_path / "state").iterdir())) == 2
    assert not unpack(tmp_path / "nothing", tmp_path / "there")


def test_a_state_is_split_into_parts_that_can_be_carried(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "a").write_bytes(bytes(i * i % 251 for i in range(1000)))
    pack(tmp_path / "home", ["a"], tmp_path / "state", part_bytes=100)
    parts = list((tmp_path / "state").glob("*.part"))
    assert len(parts) > 1
    assert max(path.stat().st_size for path in parts) <= 100
    assert unpack(tmp_path / "state", tmp_path / "there")
    assert (tmp_path / "there" / "a").read_bytes() == (tmp_path / "home" / "a").read_bytes()
    assert PART_BYTES <= 16 << 20
    parts[0].write_bytes(b"x" * 100)
    with pytest.raises(LedgerError, match="damaged"):
        unpack(tmp_path / "state", tmp_path / "elsewhere")
    parts[0].unlink()
    with pytest.raises(LedgerError, match="no state that semshard packed"):
        unpack(tmp_path / "state", tmp_path / "elsewhere")
