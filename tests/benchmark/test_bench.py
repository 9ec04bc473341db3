"""The benchmark: its baseline computes what semshard computes, its counts are right, its figures are complete."""

import copy
import json

import pytest
import torch
from semshard_cli.bench import _show as show_result
from torch import nn

import semshard
from semshard.benchmark import crafting, neighbours, photographs, plain
from semshard.benchmark.crafting import crafting_times
from semshard.benchmark.data_path import peak_memory, pictures, pipeline, write_folder
from semshard.cores import set_cores
from semshard.engine import Runtime
from semshard.measuring.ceilings import convolutions, forward_flop, matrix_product
from semshard.models import build
from semshard.noise import NoiseCrafter
from semshard.noise.views import make_view
from semshard.settings import protect_config
from tests import reference
from tests.support.command import semshard as command
from tests.support.graphs import Cuda, Graph
from tests.support.networks import used
from tests.support.runs import public_bytes

CPU = Runtime(torch.device("cpu"), "float32")
TINY = {"network": "small", "batch": 8, "steps_u": 1, "steps_a": 1, "final_steps": 1, "final_draws": 2}


def test_flop_of_resnet18_are_the_published_ones():
    assert forward_flop(build("resnet18", 10, (32, 32), 0), (32, 32)) == pytest.approx(1.11e9, rel=0.01)


def test_ceilings_are_rates_and_leave_the_network_in_its_mode():
    model = build("small", 10, (32, 32), 0)
    assert convolutions(model.train(), (32, 32), 4, CPU.device, torch.float32, 1) > 1e6
    assert model.training
    assert matrix_product(CPU.device, torch.float32, 1) > 1e8


def test_the_plain_gradient_has_the_signs_of_ours():
    model, x, y = used("small", torch.float32), torch.rand(6, 3, 32, 32), torch.arange(6) % 5
    ours = CPU.folded(model).gradient(x, y)
    theirs = plain.input_gradient(copy.deepcopy(model).eval(), x, y)
    assert (ours.sign() == theirs.sign()).double().mean() >= 0.999


def test_plain_views_are_views():
    torch.manual_seed(0)
    image = torch.rand(3, 8, 8)
    possible = {
        tuple(reference.view(image, dy, dx, flip, 2).flatten().tolist())
        for dy in range(-2, 3)
        for dx in range(-2, 3)
        for flip in (False, True)
    }
    seen = {tuple(view.flatten().tolist()) for view in plain.view(image.expand(200, 3, 8, 8), 2)}
    assert seen <= possible
    assert len(seen) > 40


def test_plain_noise_lowers_the_loss_as_ours_does():
    config = protect_config("quick", (32, 32), "float32", {"steps_u": 5, "draws": 2, "pad": 0})
    model, x, y = used("small", torch.float32), torch.rand(8, 3, 32, 32), torch.arange(8) % 5
    torch.manual_seed(0)
    theirs = plain.craft(copy.deepcopy(model), x, y, config)
    ours = NoiseCrafter(CPU.folded(model), make_view(config, (32, 32))[0], config)(x, y, CPU.generator(0))

    def loss(images):
        return float(nn.functional.cross_entropy(copy.deepcopy(model).eval()(images), y).detach())

    noise = torch.empty_like(x).uniform_(-config.rho_u, config.rho_u)
    gained = [loss(x) - loss(x + delta) for delta in (ours, theirs, noise)]
    assert gained[1] == pytest.approx(gained[0], rel=0.3)
    assert gained[0] > 3 * abs(gained[2])
    assert float(theirs.abs().max()) <= config.rho_u + 1e-6


@pytest.mark.slow
def test_a_whole_benchmark_as_json_and_as_tables():
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    options += ["--preset=quick", "--repeats=1", "--pictures=0", "--no-neighbours"]
    found = json.loads(command("bench", "--json", "--methods=rem,sc", *options).stdout)
    assert [step["name"] for step in found["steps"]] == ["input gradient", "surrogate step", "crafting", "victim step"]
    for step in found["steps"]:
        assert step["ratio"] == pytest.approx(step["plain_seconds"] / step["seconds"])
        assert step["images_per_second"] == pytest.approx(8 / step["seconds"])
    gradient, surrogate, crafting, _ = (step["flop"] for step in found["steps"])
    assert (surrogate, crafting) == (3.5 * gradient, 2 * gradient)
    assert set(found["folds"]) == {"1", "2"}
    rem, sc = found["methods"]
    assert (rem["name"], sc["name"], sc["step"]) == ("rem", "sc", None)
    assert rem["whole"] == pytest.approx(rem["step"] * found["settings"]["steps"] + 50_000 / rem["crafting"])
    assert min(rem["peak_memory"], sc["peak_memory"]) > 1e8
    assert [found[part] for part in ("photographs", "neighbours", "crafting")] == [[], [], []]
    assert [found[part] for part in ("data_path", "peak_memory", "peak_memory_of_worker")] == [{}, {}, {}]
    tables = command("bench", "--methods=none", *options).stdout
    assert "surrogate step" in tables
    assert " ×" in tables


@pytest.mark.slow
def test_the_data_path_runs_as_in_protect(tmp_path):
    write_folder(tmp_path / "images", 40)
    assert pipeline(tmp_path, keep=False, name="a").rate > 0
    assert pipeline(tmp_path, keep=True, name="b").rate > 0
    assert len(pipeline(tmp_path, keep=True, name="c", workers=2).made.peaks) == 2
    assert public_bytes(tmp_path / "a") == public_bytes(tmp_path / "b") == public_bytes(tmp_path / "c")
    assert len(set(map(bytes, pictures(5, 32)))) == 5


@pytest.fixture
def _two_cores():
    set_cores(2)
    yield
    set_cores(None)


@pytest.mark.slow
@pytest.mark.usefixtures("_two_cores")
def test_real_noise_is_crafted_by_processes_and_each_says_its_memory():
    config = protect_config("quick", (32, 32), "float32", TINY)
    alone, both = crafting_times(CPU, config, (32, 32), 1.0, 2)
    assert (alone.workers, both.workers, alone.images, both.images) == (1, 2, 128, 128)
    for found in (alone, both):
        assert found.per_second > found.with_start > 0
        assert 1e8 < found.peak_memory < 8e9


@pytest.mark.usefixtures("_two_cores")
@pytest.mark.slow
def test_every_part_is_in_the_result_and_in_the_tables(monkeypatch, capsys):
    monkeypatch.setattr(photographs, "SHAPES", {(60, 80): 1})
    monkeypatch.setattr(neighbours, "BLOCK", 0.05)
    monkeypatch.setattr(crafting, "SECONDS", 0.0)
    said = []
    result = semshard.bench(
        preset="quick", repeats=1, methods=[], pictures=80, memory_at=(40,), device="cpu", progress=said.append, **TINY
    )
    assert [event.done for event in said if event.phase == "bench"] == list(range(9 + 1))
    found = json.loads(json.dumps(result.to_json()))
    assert [case["count"] for case in found["neighbours"]] == [0, 1, 2, 1, 2]
    assert [count["workers"] for count in found["crafting"]] == [1, 2]
    assert 1e8 < found["peak_memory_of_worker"]["40"] < 8e9
    show_result(result)
    shown = capsys.readouterr().out
    for words in ("2 × busy Python loop", "0.67", "peak memory of one", "peak memory of a process of 2 at 40 images"):
        assert words in shown


def test_peak_memory_is_that_of_a_process_of_its_own():
    (peak,) = peak_memory([40]).values()
    assert 1e8 < peak < 8e9


@pytest.mark.slow
def test_photographs_are_measured_each_size_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(photographs, "SHAPES", {(60, 80): 2, (200, 150): 1})
    config = protect_config("quick", None, "float32", {"crop": 24, "final_steps": 1, "final_draws": 1})
    for found, size in zip(photographs.photograph_times(CPU, config, 1), [(60, 80), (200, 150)], strict=True):
        assert (found.height, found.width) == size
        assert found.per_second > 0
        assert found.passes > 0
        assert found.peak_memory > 1e8


def test_photographs_are_measured_where_their_steps_are_captured(monkeypatch):
    config = protect_config("quick", None, "float32", {"crop": 24, "final_steps": 2, "final_draws": 1})
    Cuda().install(monkeypatch)
    found = photographs._measured(CPU, config, 60, 80, 2, 1)
    assert Graph.made["graphs"] > 0
    assert found.per_second > 0
    assert found.passes > 0


def test_views_without_a_baseline_are_refused():
    with pytest.raises(semshard.SettingError, match="crop-flip views only"):
        semshard.bench(preset="quick", views="resized-crop", crop=16, repeats=1)
