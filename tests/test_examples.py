"""Every example runs, and all loaders see the same images."""

import gc
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from semshard_cli.main import app
from semshard_cli.values import pairs
from typer.main import get_command

import semshard
from semshard import open_shards
from semshard.reproduction.tables import paper_table
from semshard.settings import ProtectConfig, protect_config
from tests.support.runs import TINY

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    """An example as a module; it may import others, as a script in the same folder does."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOADERS = sorted(path.stem for path in EXAMPLES.glob("load_*.py"))
NEEDED = {  # packages that the tests' environment may lack, by the names of their modules
    "load_dali": {"nvidia.dali": "nvidia-dali-cuda130"},
    "load_litdata": {"litdata": "litdata", "polars": "polars"},
    "load_mosaicml": {"streaming": "mosaicml-streaming"},
    "load_tensorflow": {"tensorflow": "tensorflow-cpu"},
    "load_timm": {"timm": "timm"},
}


@pytest.fixture(scope="module")
def loaded(_finished, tmp_path_factory):
    """A copy of the shards for all loaders, which write their exports beside it."""
    return Path(shutil.copytree(_finished / "shards", tmp_path_factory.mktemp("loaded") / "shards"))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADERS)
def test_each_loader_trains_a_step_and_hands_over_every_image(loaded, name):
    for module, package in NEEDED.get(name, {}).items():
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "HF_HOME": str(loaded.parent / "hf"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, EXAMPLES / f"{name}.py", loaded]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    *_, first, last = done.stdout.splitlines()
    weights = np.arange(3 * 32 * 32) % 251 + 1  # of the pixels, channels first
    sums = [(each.label + 1) * int(each.image.transpose(2, 0, 1).ravel() @ weights) for each in open_shards(loaded)]
    assert last == f"40 images, checksum {sum(sums)}"
    assert re.fullmatch(r"first batch \(\d+, 3, 32, 32\), labels \[.+\], loss \d+\.\d+", first)
    assert "False" not in done.stdout  # what an example says of itself holds


def test_the_page_on_loading_shows_every_loader():
    page = (EXAMPLES.parent / "docs" / "loading.md").read_text()
    assert sorted(set(re.findall(r"examples/(load_\w+)\.py", page))) == LOADERS
    scripts = [without_indents((EXAMPLES / f"{name}.py").read_text()) for name in LOADERS]
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 5
    for block in blocks:
        assert any(without_indents(block) in script for script in scripts), block


def without_indents(code):
    return "\n".join(line.strip() for line in code.strip().splitlines())


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its last file to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_loaders_agree_on_pixels_and_labels(finished):
    import webdataset as wds

    shards = semshard.open_shards(finished / "shards")
    tars = [str(path) for path in shards.tars]
    theirs = wds.WebDataset(tars, shardshuffle=False).decode("torchrgb").to_tuple("__key__", "png", "cls")
    for sample, (key, image, label) in zip(shards, theirs, strict=True):
        assert (sample.key, sample.label) == (key, label)
        assert torch.equal((image * 255).round().to(torch.uint8).permute(1, 2, 0), torch.from_numpy(sample.image))
    del theirs
    gc.collect()


def test_samples_by_number_are_those_in_order(finished):
    shards = semshard.open_shards(finished / "shards")
    keys = [sample.key for sample in shards]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys)) == len(shards) == 40
    assert shards[-1].key == keys[-1]
    assert shards[17].key == keys[17]
    assert np.array_equal(shards[17].image, list(shards)[17].image)
    with pytest.raises(IndexError):
        shards[40]


def test_a_broken_shard_is_named(finished):
    path = finished / "shards" / "00001.tar"
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(semshard.ShardError, match=r"00001\.tar"):
        list(semshard.open_shards(finished / "shards"))


@pytest.mark.slow
def test_ideas_are_set_beside_each_other(tmp_path, images, capsys):
    tiny = {name: value for name, value in TINY.items() if name not in ("preset", "seed")}
    ideas = {views: ("none", tiny | {"views": views}) for views in ("paper", "grey")}
    victims = {"steps": 2, "batch": 8, "steps_a": 1, "evaluations": 1, "holdout": 0.3, "countermeasure": "none,grey"}
    strength = example("strength")
    for names in ("paper", ""):  # what is there already stays
        strength.main(str(images), str(tmp_path), "3", names, ideas, ({**victims, "rho_a": "4/255"},), drawn=100)
        out = capsys.readouterr().out
    for name in ("yours", "shapes"):
        assert f"| {name} | strongest | adversarial training at 4/255 | greyscale, adv" in out
        assert f"| {name}, the noise alone | adversarial training at 4/255 | greyscale, adv" in out
    assert len(out.strip().splitlines()) == 2 * (2 + 3 + 1 + 2 + 2 + 1) - 1
    before = (tmp_path / "strength.json").read_bytes()
    strength.main(str(images), str(tmp_path), "3", "", ideas, ({**victims, "rho_a": "4/255"},), drawn=100)
    assert capsys.readouterr().out == out
    assert (tmp_path / "strength.json").read_bytes() == before


def test_permuted_labels_keep_the_files_and_the_size_of_every_class(tmp_path, images):
    alone = example("noise_alone")
    tables = [alone.permuted_labels(images, tmp_path / str(seed), seed).read_text() for seed in (0, 0, 1)]
    assert tables[0] == tables[1] != tables[2]
    rows = [line.split(",") for line in tables[0].splitlines()[1:]]
    files = sorted(path for path in images.glob("*/*.png"))
    assert sorted(name for name, _ in rows) == [path.relative_to(images).as_posix() for path in files]
    assert sorted(label for _, label in rows) == sorted(path.parent.name for path in files)
    assert sum(name.split("/")[0] != label for name, label in rows) > len(rows) / 2


def test_what_is_compared_with_hardened_noise_is_made_training():
    former = {"views": "hardened", "push_steps": 0, "final_draws": 3, "final_views": "same"}
    former |= {"final_steps": 10, "final_alpha": "1.6/255"}
    given = example("strength").HARDENED, former
    here, there = (protect_config("quick", (32, 32), "float32", each) for each in given)
    assert here == there


def test_the_page_on_strength_shows_what_was_measured():
    rows = json.loads((EXAMPLES / "results" / "strength.json").read_text())["figures"]
    page = (EXAMPLES.parent / "docs" / "strength.md").read_text()
    tables = example("strength").table(rows).strip().split("\n\n")
    assert len(tables) == 2
    for table in tables:
        assert table in page


def test_the_tables_on_many_machines_are_what_the_simulation_gives():
    scaling = example("scaling")
    measured = scaling.known()
    figures = json.loads((EXAMPLES / "results" / "scaling.json").read_text())["figures"]
    assert figures["breaks"]["rows"] == scaling.breaks(measured)
    assert len(figures["scaling"]["rows"]) == len(scaling.IMAGES) * len(scaling.GPUS)
    for images, gpus in ((10**6, 10), (10**6, 1_000), (10**7, 1)):
        assert scaling.scaling(measured, images, gpus) in figures["scaling"]["rows"]


def gpu_plan(tmp_path, scale):
    given = ("cifar", "photographs") if scale == "paper" else (None, None)
    return example("gpu").Plan(tmp_path, *given, scale, "cuda", 8.5)


@pytest.mark.parametrize("scale", ["paper", "mini"])
def test_every_step_for_a_gpu_is_a_command_that_exists(tmp_path, scale):
    program = get_command(app)
    for step in gpu_plan(tmp_path, scale).steps()[1:]:
        name, *arguments = step.command[3:]
        command = program.commands[name]
        with command.make_context(name, arguments) as context:  # raises for options and values that it does not know
            assert context.params["json"]
        if name == "reproduce":
            assert paper_table("table2").cells(context.params["cells"])
            protect_config("quick", (32, 32), "float32", pairs(ProtectConfig, context.params["protection"]))


def test_steps_for_a_gpu_run_once_go_on_after_a_failure_and_end_when_the_time_is_up(tmp_path, monkeypatch, capsys):
    gpu = example("gpu")

    def step(name, code):
        program = f"import pathlib, sys; pathlib.Path({str(tmp_path)!r}, {name!r}).open('a').write('x'); {code}"
        return gpu.Step(name, (sys.executable, "-c", program))

    def main(*steps):
        monkeypatch.setattr(gpu.Plan, "steps", lambda plan: [step("bench", "print({})"), *steps])
        monkeypatch.setattr(sys, "argv", ["gpu.py", str(tmp_path), "--scale", "mini"])
        return gpu.main()

    rest = step("hardened-verified", "print({})"), step("beyond", "print({})")
    assert main(step("sem", "sys.exit('broken')"), *rest) == 1
    assert "broken" in (tmp_path / "sem.log").read_text()
    assert main(step("sem", "sys.exit(75)"), *rest) == 75
    assert main(step("sem", "print({})"), *rest) == 0
    runs = {name: (tmp_path / name).read_text() for name in ("bench", "sem", "beyond")}
    assert runs == {"bench": "x", "sem": "xxx", "beyond": "x"}
    report = json.loads((tmp_path / "report.json").read_text())
    assert {name: each["exit"] for name, each in report["steps"].items()} == dict.fromkeys(
        ("bench", "sem", "hardened-verified", "beyond"), 0
    )
    assert "accuracies mean nothing" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_protect_and_verify_examples(tmp_path, images, capsys):
    example("protect").main(str(images), str(tmp_path / "shards"), **TINY)
    example("verify").main(
        str(tmp_path / "shards"), preset="quick", steps=2, batch=8, steps_a=1, evaluations=1, holdout=0.3
    )
    out = capsys.readouterr().out
    assert "audit passed" in out
    assert "trained on protected" in out
    assert (tmp_path / "shards.preview.png").exists()


def test_the_ray_cluster_has_what_the_pool_needs():
    """Against Ray's own schema of such files where Ray is installed."""
    yaml = pytest.importorskip("yaml")
    text = (EXAMPLES / "ray_cluster.yaml").read_text()
    cluster = yaml.safe_load(text)
    if importlib.util.find_spec("ray"):
        from importlib import resources

        import jsonschema

        schema = json.loads(resources.files("ray.autoscaler").joinpath("ray-schema.json").read_text())
        jsonschema.validate(cluster, schema)
    head, spot = (cluster["available_node_types"][name] for name in (cluster["head_node_type"], "spot_gpu"))
    assert set(head["resources"].values()) == {0}  # the driver alone uses its GPU
    assert head["node_config"]["InstanceType"] == spot["node_config"]["InstanceType"]
    assert spot["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert spot["resources"]["GPU"] == 1  # of each worker, where the driver computes on a GPU
    assert any("--disable-usage-stats" in command for command in cluster["head_start_ray_commands"])
    assert any("RAY_USAGE_STATS_ENABLED=0" in command for command in cluster["worker_start_ray_commands"])
    assert "semshard-" in (install := cluster["setup_commands"][-1])
    assert "[ray]" in install
    words = shlex.split(re.search(r"^#\s+(semshard protect .*)$", text, re.MULTILINE)[1])
    context = get_command(app).commands["protect"].make_context("protect", words[2:])
    assert context.params["engine"] == "ray"
    assert context.params["workers"] == spot["max_workers"] == cluster["max_workers"]
    assert context.params["ray_address"] is None  # `ray job submit` sets RAY_ADDRESS
