"""Sweeps and the study of robustness: few trainings, the bytes of protect, figures kept and drawn."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import semshard
from semshard.models import build
from semshard.noise import InnerPerturbation
from semshard.noise.robustness import BATCH, AdversarialLoss, SurrogateRobustness, noise_robustness
from semshard.noise.views import CropFlip, Whole, make_view
from semshard.noise.views.resized_crop import ResizedCrop
from semshard.settings import ProtectConfig, parse, protect_config
from semshard.studies.robustness import RobustnessPoint, pearson
from semshard.verification.cache import ResultCache
from tests import reference
from tests.support.networks import CPU
from tests.support.runs import TINY

VICTIM = {"rho_a": ["0", "2/255"], "steps": 4, "batch": 8, "steps_a": 1, "evaluations": 2, "holdout": 0.3}


def swept(images, out, setting, values, **settings):
    events = []
    given = {name: value for name, value in TINY.items() if name != setting} | settings
    result = semshard.sweep(images, out, setting, values, victim=VICTIM, progress=events.append, **given)
    return result, [event.phase for event in events]


@pytest.mark.slow
def test_a_sweep_over_steps_trains_once_and_its_shards_are_those_of_protect(images, tmp_path):
    result, phases = swept(images, tmp_path / "sweep", "steps", [1, 3, 2])
    assert result.surrogates == 1
    assert result.values == [1, 3, 2]
    assert {phase for phase in phases if "surrogate" in phase} == {"surrogate of 3 steps: surrogate"}
    for steps in (1, 2, 3):
        semshard.protect(images, tmp_path / f"{steps}", **{**TINY, "steps": steps})
        for tar in ("00000.tar", "00001.tar", "00002.tar", "manifest.json"):
            here = (tmp_path / "sweep" / f"steps={steps}" / tar).read_bytes()
            assert here == (tmp_path / f"{steps}" / tar).read_bytes()
    assert semshard.audit(tmp_path / "sweep" / "steps=2").ok


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"warm_up": 1.0}, {"push_steps": 1}], ids=["warm-up", "second network"])
def test_a_sweep_over_steps_shares_no_training_that_depends_on_the_whole(images, tmp_path, given):
    result, _ = swept(images, tmp_path / "sweep", "steps", [2, 3], **given)
    assert result.surrogates == 2
    semshard.protect(images, tmp_path / "alone", **given, **{**TINY, "steps": 2})
    assert (tmp_path / "alone" / "00000.tar").read_bytes() == (tmp_path / "sweep/steps=2/00000.tar").read_bytes()


@pytest.mark.slow
def test_a_sweep_scans_its_source_once(images, tmp_path):
    events = []
    given = {name: value for name, value in TINY.items() if name != "final_steps"}
    semshard.sweep(images, tmp_path / "sweep", "final_steps", [1, 2, 3], victim=VICTIM, progress=events.append, **given)
    phases = [event.phase for event in events if event.done == event.total]
    assert phases.count("scan") == 1
    assert not [phase for phase in phases if phase.endswith(": scan")]


@pytest.mark.slow
def test_a_sweep_has_a_victim_for_each_value_and_radius_beside_the_clean_ones(images, tmp_path):
    result, _ = swept(images, tmp_path / "sweep", "rho_r", ["0", "2/255"])
    assert result.surrogates == 2, "the random perturbation takes part in the training"
    assert [(cell.value, cell.rho_a) for cell in result.cells] == [
        (value, rho)
        for value, rho in [
            *((None, "0/255"), (None, "2/255")),
            *(("0/255", "0/255"), ("0/255", "2/255"), ("2/255", "0/255"), ("2/255", "2/255")),
        ]
    ]
    assert result.samples["train"] + result.samples["test"] == 40
    on_disk = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert on_disk["cells"] == [vars(cell) for cell in result.cells]
    picture = np.asarray(Image.open(tmp_path / "sweep" / "sweep.png"))
    assert picture.shape[0] > 400
    assert picture.std() > 10
    assert (tmp_path / "sweep").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_sweep_continues_where_it_stopped_and_trains_nothing_twice(images, tmp_path):
    first, _ = swept(images, tmp_path / "sweep", "final_steps", [2])
    second, phases = swept(images, tmp_path / "sweep", "final_steps", [2, 3])
    assert (first.surrogates, second.surrogates) == (1, 1), "the final noise does not change the training"
    assert not [phase for phase in phases if "surrogate" in phase]
    assert {phase for phase in phases if "victim" in phase} == {
        "victim on final_steps=3, 0/255",
        "victim on final_steps=3, 2/255",
    }
    assert second.cells[:4] == first.cells


@pytest.mark.slow
def test_draws_are_swept_in_the_final_noise_too(images, tmp_path):
    swept(images, tmp_path / "sweep", "draws", [1, 2], final_draws=3)
    manifest = json.loads((tmp_path / "sweep" / "draws=2" / "manifest.json").read_text())
    assert (manifest["settings"]["draws"], manifest["settings"]["final_draws"]) == (2, 3)
    without = {name: value for name, value in TINY.items() if name != "final_draws"}
    semshard.sweep(images, tmp_path / "own", "draws", [2], victim=VICTIM, **without)
    manifest = json.loads((tmp_path / "own" / "draws=2" / "manifest.json").read_text())
    assert manifest["settings"]["final_draws"] == 2


@pytest.mark.slow
def test_methods_can_be_swept(images, tmp_path):
    result, _ = swept(images, tmp_path / "sweep", "method", ["sc", "em"])
    assert result.values == ["sc", "em"]
    assert result.surrogates == 1
    assert (tmp_path / "sweep" / "method=sc" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("setting", "values", "message"),
    [("stepz", [1], "unknown"), ("steps", [], "no values"), ("resolution", [8, 16], "cannot be swept")],
)
def test_impossible_sweeps_are_refused(setting, values, message, images, tmp_path):
    with pytest.raises(semshard.SettingError, match=message):
        semshard.sweep(images, tmp_path / "sweep", setting, values, **TINY)


def test_values_are_read_as_their_settings_have_them():
    assert parse(ProtectConfig, "steps", "12") == 12
    assert parse(ProtectConfig, "lr", "0.5") == 0.5
    assert parse(ProtectConfig, "rho_r", "2/255") == 2 / 255
    assert parse(ProtectConfig, "method", "rem") == "rem"
    for name, text in (("steps", "many"), ("stepz", "1")):
        with pytest.raises(semshard.SettingError, match=name):
            parse(ProtectConfig, name, text)


def test_figures_are_kept_by_their_key(tmp_path):
    cache = ResultCache(tmp_path / "cache.json")
    assert cache.get("a", lambda: {"x": 1}) == {"x": 1}
    assert cache.get("a", lambda: pytest.fail("kept")) == {"x": 1}
    assert ResultCache(tmp_path / "cache.json").get("a", lambda: pytest.fail("kept")) == {"x": 1}


# --- Definitions 1 and 2 -----------------------------------------------------------------------------------------


def some(n=10):
    g = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, 3, 32, 32), generator=g).to(torch.uint8), torch.arange(n) % 4


def test_the_loss_under_an_adversary_is_that_of_the_reference():
    images, labels = some()
    x = images.float() / 255
    model = build("small", 4, (32, 32), seed=3).eval()
    within = InnerPerturbation(4 / 255, 2 / 255, 3)
    loss = AdversarialLoss(CPU, CPU.folded(model), Whole(), within, draws=2)
    ours = loss.mean(images, labels) * len(labels)
    g, theirs = CPU.generator(0, "robustness", 0), 0.0
    for _ in range(2):
        start = within.start(x, g)
        delta = reference.adversary(model, x, labels, start, rho_a=within.rho, alpha_a=within.alpha, steps=within.steps)
        theirs += float(reference.loss(model, x + delta, labels).detach()) * len(labels) / 2
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.slow
def test_a_surrogate_is_less_robust_against_a_stronger_adversary_and_more_with_more_noise():
    images, labels = some()
    model = build("small", 4, (32, 32), seed=3).eval()

    def robustness(**given):
        config = protect_config("quick", (32, 32), "float32", {"method": "rem", "final_steps": 3, **given})
        return SurrogateRobustness(CPU, CPU.folded(model), CropFlip(2), config, seed=0)(images, labels)

    assert robustness() == robustness() < 0
    assert robustness(rho_a="16/255") < robustness(rho_a="4/255") < robustness(rho_a="0")
    assert robustness(rho_u="2/255") < robustness(rho_u="16/255")


def test_the_robustness_of_a_noise_is_minus_a_mean_so_that_its_scale_does_not_depend_on_the_count():
    images, labels = some(8)
    model = build("small", 4, (32, 32), seed=3).eval()
    loss = AdversarialLoss(CPU, CPU.folded(model), Whole(), InnerPerturbation(0.0), draws=1)
    whole = noise_robustness(loss, images, labels)
    halves = [noise_robustness(loss, images[at : at + 4], labels[at : at + 4]) for at in (0, 4)]
    assert whole == pytest.approx(sum(halves) / 2, rel=1e-5)
    assert whole == pytest.approx(-float(reference.loss(model, images / 255, labels).detach()), rel=1e-4)


def squashed(n):
    g = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (n, 3, 16, 16), generator=g).to(torch.uint8)
    return images, torch.arange(n) % 4, torch.randint(16, 64, (n, 2), generator=g)


def test_squashed_photographs_are_seen_in_their_own_sizes_in_every_batch():
    images, labels, sizes = squashed(BATCH + 5)
    model = build("small", 4, (8, 8), seed=3).eval()
    loss = AdversarialLoss(CPU, CPU.folded(model), ResizedCrop(8), InnerPerturbation(0.0), draws=1)
    batches = [images[:BATCH], images[BATCH:]]
    total = 0.0
    for at, batch in zip((0, BATCH), batches, strict=True):
        x, here = batch.float() / 255, slice(at, at + BATCH)
        view = ResizedCrop(8).on(sizes[here])
        seen = view.apply(x, view.draw(x, CPU.generator(0, "robustness", at)))
        total += float(reference.loss(model, seen, labels[here]).detach()) * len(x)
    assert loss.mean(images, labels, sizes) == pytest.approx(total / len(labels), rel=1e-4)
    assert loss.mean(images, labels) != pytest.approx(total / len(labels), rel=1e-4)


@pytest.mark.slow
def test_a_surrogate_of_photographs_of_many_sizes_is_measured_batch_by_batch():
    images, labels, sizes = squashed(BATCH + 5)
    given = {"crop": 8, "final_steps": 1, "final_draws": 1, "draws": 1, "steps_a": 1}
    config = protect_config("quick", None, "float32", given)
    network = CPU.folded(build("small", 4, (8, 8), seed=3).eval())
    measure = SurrogateRobustness(CPU, network, make_view(config, None)[0], config, seed=0)
    assert measure(images, labels, sizes) < 0


@pytest.mark.slow
def test_a_study_over_the_checkpoints_of_one_run(images, tmp_path):
    sweep, _ = swept(images, tmp_path / "sweep", "steps", [1, 2, 3], method="rem")
    accuracy = {point.value: point.final for point in sweep.cells if point.rho_a == "2/255"}
    folders = [tmp_path / "sweep" / f"steps={steps}" for steps in (1, 2, 3)]
    settings = {"preset": "quick", "images": 12, **VICTIM, "rho_a": "2/255"}
    result = semshard.robustness(folders, tmp_path / "study", **settings)
    assert [(point.method, point.steps) for point in result.points] == [("rem", 1), ("rem", 2), ("rem", 3)]
    for point in result.points:
        assert point.surrogate < 0
        assert point.noise < 0
        assert point.protection == 1 - accuracy[point.steps], "the victim is that of the sweep"
    assert result.correlation == {name: pearson(result.points, name) for name in ("surrogate", "noise")}
    on_disk = json.loads((tmp_path / "study" / "robustness.json").read_text())
    assert on_disk["points"] == [vars(point) for point in result.points]
    assert np.asarray(Image.open(tmp_path / "study" / "robustness.png")).std() > 10
    events = []
    again = semshard.robustness(folders[:1], tmp_path / "study", progress=events.append, **settings)
    assert again.points == result.points[:1]
    assert again.correlation == {"surrogate": None, "noise": None}
    assert not [event.phase for event in events if "victim" in event.phase], "finished points are kept"


def test_the_correlation_is_pearsons_over_the_points_that_have_both_values():
    surrogate, noise, protection = (-0.5, -1.5, -1.0, None), (-2.0, -2.0, -2.0, -2.0), (0.3, 0.9, 0.4, 0.1)
    points = [RobustnessPoint("", "rem", 1, *values) for values in zip(surrogate, noise, protection, strict=True)]
    expected = np.corrcoef(surrogate[:3], protection[:3])[0, 1]
    assert -1 < expected < 0
    assert pearson(points, "surrogate") == pytest.approx(expected, abs=1e-9)
    assert pearson(points[:2], "surrogate") is None, "two points always lie on a line"
    assert pearson(points, "noise") is None, "it does not vary"


def test_a_noise_without_a_surrogate_has_one_robustness(images, tmp_path):
    semshard.protect(images, tmp_path / "out", method="sc", **TINY)
    settings = {"preset": "quick", "images": 8, **VICTIM, "rho_a": "0"}
    (point,) = semshard.robustness([tmp_path / "out"], tmp_path / "study", **settings).points
    assert point.surrogate is None
    assert point.noise < 0


def test_robustness_needs_one_radius_and_the_ledger(finished, tmp_path):
    with pytest.raises(semshard.SettingError, match="one radius"):
        semshard.robustness([finished / "shards"], tmp_path / "study", preset="quick", **VICTIM)
    with pytest.raises(semshard.SettingError, match="longer is a setting of verify only"):
        semshard.robustness([finished / "shards"], tmp_path / "study", preset="quick", longer=4, **VICTIM)
    (finished / "shards.ledger").rename(finished / "elsewhere")
    with pytest.raises(semshard.LedgerError, match="gone"):
        semshard.robustness([finished / "shards"], tmp_path / "s", preset="quick", **{**VICTIM, "rho_a": "0"})
