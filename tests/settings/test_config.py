"""Settings: presets, radii as text, JSON round trip, what is refused."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semshard.errors import SettingError
from semshard.settings import (
    COUNTERMEASURES,
    ProtectConfig,
    VerifyConfig,
    effective,
    fingerprint,
    format_radius,
    from_json,
    levels,
    parse_radius,
    protect_config,
    to_json,
    verify_config,
)


@given(st.integers(0, 255), st.sampled_from([1, 2, 5, 10]))
def test_a_radius_in_grey_levels_survives_text(n, parts):
    value = parse_radius(f"{n / parts:g}/255")
    assert parse_radius(format_radius(value)) == value
    assert value == pytest.approx(n / parts / 255)


@given(st.floats(0, 1))
def test_any_radius_survives_text(value):
    value = parse_radius(repr(value))
    assert parse_radius(format_radius(value)) == value


@pytest.mark.parametrize(("text", "most"), [("8/255", 8), ("0.031", 7), ("16/255", 16), (8 / 255, 8), ("0.0314", 8)])
def test_the_budget_in_whole_levels_never_exceeds_the_radius(text, most):
    assert levels(parse_radius(text)) == most


@pytest.mark.parametrize("text", ["8", "-1/255", "1/0", "a", "", "nan", "1e9", "8/255/2"])
def test_no_radius(text):
    with pytest.raises(SettingError, match="radius"):
        parse_radius(text)


def test_the_paper_preset_is_that_of_the_paper():
    config = protect_config("paper", (32, 32), "float32", {})
    assert (config.network, config.steps, config.batch, config.draws) == ("resnet18", 5000, 128, 5)
    assert (config.lr, config.lr_every, config.momentum, config.weight_decay) == (0.1, 2000, 0.9, 5e-4)
    radii = {name: to_json(config)[name] for name in ("rho_u", "alpha_u", "rho_a", "alpha_a", "rho_r")}
    assert radii == {"rho_u": "8/255", "alpha_u": "1.6/255", "rho_a": "4/255", "alpha_a": "0.8/255", "rho_r": "4/255"}
    assert (config.steps_u, config.steps_a, config.views, config.pad) == (10, 10, ("crop-flip",), 4)
    assert config.final() == config, "the final noise is made as in a training step"


def test_the_paper_preset_above_64_pixels_is_its_imagenet_column():
    config = protect_config("paper", (256, 256), "float32", {})
    radii = {name: to_json(config)[name] for name in ("rho_u", "alpha_u", "rho_a", "alpha_a", "rho_r")}
    assert radii == {"rho_u": "8/255", "alpha_u": "2/255", "rho_a": "4/255", "alpha_a": "1/255", "rho_r": "4/255"}
    assert (config.steps, config.lr_every, config.draws, config.steps_u, config.steps_a) == (3000, 1200, 4, 7, 7)
    assert (config.views, config.crop) == (("resized-crop",), 224)
    assert config.final() == config


def test_victims_of_the_paper_preset_are_those_of_the_paper():
    small = verify_config("paper", (32, 32), "float32", {})
    assert (small.steps, small.lr_every, small.steps_a, small.step_share) == (40_000, 16_000, 10, 1 / 5)
    large = verify_config("paper", (256, 256), "float32", {})
    assert (large.steps_a, large.step_share) == (8, 1 / 4)


def test_the_medium_preset_is_for_small_images():
    config = protect_config("medium", (32, 32), "float32", {})
    assert (config.network, config.steps, config.batch, config.rho_a) == ("resnet9", 1000, 128, 4 / 255)
    assert (config.schedule, config.nesterov) == ("step", False), "as every surrogate"
    victim = verify_config("medium", (32, 32), "float32", {})
    assert (victim.victim, victim.steps, victim.batch, victim.max_samples) == (("resnet9",), 3125, 128, 0)
    assert (victim.schedule, victim.lr, victim.nesterov, victim.weight_decay) == ("one-cycle", 0.2, True, 5e-4)
    assert (victim.steps_a, victim.step_share) == (1, 1.25)
    hardened = protect_config("medium", (32, 32), "float32", {"views": "hardened"})
    assert (hardened.label_noise, hardened.warm_up, hardened.steps) == (0.5, 0.5, 2 * config.steps)
    for make in (protect_config, verify_config):
        for size in ((224, 224), None):
            with pytest.raises(SettingError, match="preset medium is for images of one size up to 64 pixels a side"):
                make("medium", size, "float32", {})


@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_victims_of_the_older_presets_are_trained_as_before(preset):
    config = verify_config(preset, (32, 32), "float32", {})
    assert (config.schedule, config.nesterov) == ("step", False)
    assert config.step_share <= 1


def test_step_sizes_and_rho_r_follow_their_radius_unless_given():
    config = protect_config("paper", (32, 32), "float32", {"rho_a": "2/255", "rho_u": "16/255"})
    found = {name: to_json(config)[name] for name in ("alpha_a", "rho_r", "alpha_u")}
    assert found == {"alpha_a": "0.4/255", "rho_r": "2/255", "alpha_u": "3.2/255"}
    config = protect_config("paper", (32, 32), "float32", {"rho_a": "2/255", "rho_r": "4/255"})
    assert to_json(config)["rho_r"] == "4/255"


@pytest.mark.parametrize(
    ("preset", "size"),
    [
        (preset, size)
        for preset in ("paper", "medium", "quick")
        for size in ((32, 32), (224, 224))
        if (preset, size[0]) != ("medium", 224)
    ],
)
def test_json_round_trip(preset, size):
    config = protect_config(preset, size, "bfloat16", {"rho_u": 0.03})
    assert from_json(ProtectConfig, to_json(config)) == config
    victim = verify_config(preset, size, "bfloat16", {"rho_a": ["0", "2/255,4/255"]})
    assert from_json(VerifyConfig, to_json(victim)) == victim
    assert victim.rho_a == (0, 2 / 255, 4 / 255)


def test_lists_come_from_commas_repetition_or_lists():
    def victim(**given):
        return verify_config("quick", (32, 32), "float32", given)

    assert victim(victim="small,resnet18").victim == ("small", "resnet18")
    assert victim(victim=["small", "vit,small"]).victim == ("small", "vit")
    assert victim(countermeasure="all").countermeasure == COUNTERMEASURES
    assert victim(protected_fraction=["0.5,1"]).protected_fraction == (0.5, 1.0)
    assert victim(patience="3000,5000").patience == (3000, 5000)
    assert from_json(VerifyConfig, to_json(victim(clean_share=[0, 0.5]))).clean_share == (0.0, 0.5)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"victim": "resnet19"}, "choose one of: resnet18, resnet50"),
        ({"countermeasure": "grey,blur"}, "'blur' is unknown"),
        ({"protected_fraction": "0"}, "must lie in"),
        ({"protected_fraction": "1.5"}, "must lie in"),
        ({"protected_fraction": "half"}, "not a number"),
        ({"clean_share": "2"}, "must lie in"),
        ({"patience": "0"}, "at least 1"),
        ({"patience": "1.5"}, "not a whole number"),
        ({"seeds": 0}, "at least 1"),
        ({"rho_a": []}, "empty"),
        ({"start": "middle"}, "choose one of"),
        ({"step_share": 2.1}, r"lie in \(0, 2\]"),
        ({"nesterov": True, "momentum": 0.0}, "needs a momentum"),
        ({"seed": 2**64}, "must lie in"),
    ],
)
def test_impossible_settings_of_victims_are_refused(given, word):
    with pytest.raises(SettingError, match=word):
        verify_config("quick", (32, 32), "float32", given)


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        protect_config("quick", (32, 32), "float32", {}).steps = 1


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"stepz": 1}, "unknown"),
        ({"steps": 0}, "at least 1"),
        ({"steps": 1.5}, "not a whole number"),
        ({"steps": True}, "not a whole number"),
        ({"lr": "fast"}, "not a number"),
        ({"rho_u": "0.5/255"}, "below one grey level"),
        ({"rho_u": "128/255"}, "above 127/255"),
        ({"alpha_u": 0}, "above 0"),
        ({"final_alpha": 0}, "above 0"),
        ({"seed": 2**64}, "must lie in"),
        ({"method": "tap", "push_steps": 5}, "method tap trains one network"),
        ({"method": "push", "pool": 5}, "method push trains one network"),
        ({"views": "mirror"}, "choose from"),
        ({"views": "resized-crop", "crop": 4}, "crop"),
        ({"shard_size": 100_001}, "100000"),
        ({"label_noise": 1.5}, r"lie in \[0, 1\]"),
        ({"warm_up": -0.1}, r"lie in \[0, 1\]"),
        ({"rho_a": "2"}, "outside 0 to 1"),
    ],
)
def test_impossible_settings_are_refused(given, word):
    with pytest.raises(SettingError, match=word):
        protect_config("quick", (32, 32), "float32", given)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(SettingError, match="medium, paper, quick"):
        protect_config("slow", (32, 32), "float32", {})


def test_the_fingerprint_does_not_depend_on_the_order_of_keys():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 1, "b": [3]})


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({}, "sem"),
        ({"noise_step": "pgd"}, "rem"),
        ({"noise_step": "pgd", "model_step": "none"}, "rem-u"),
        ({"noise_step": "none"}, "rem-theta"),
        ({"noise_step": "none", "model_step": "none", "noise_views": "none"}, "em-aligned"),
        ({"noise_step": "none", "model_step": "none", "noise_views": "first"}, "em"),
        ({"noise_views": "first"}, "cell"),
        ({"noise_step": "none", "model_step": "none"}, "cell"),
        ({"model_step": "random"}, "cell"),
        ({"method": "cell", "model_step": "random"}, "cell"),
        ({"method": "rem", "noise_step": "pgd"}, "rem"),
    ],
)
def test_a_cell_of_the_grid_is_known_by_its_name_or_by_its_steps(given, method):
    config = protect_config("paper", (32, 32), "float32", given)
    assert config.method == method
    for name, value in given.items():
        assert getattr(config, name) == ((value,) if name == "noise_views" else value)


@pytest.mark.parametrize("given", [{"method": "sem", "noise_step": "pgd"}, {"method": "tap", "model_step": "pgd"}])
def test_a_method_does_not_take_the_steps_of_another(given):
    with pytest.raises(SettingError, match="leave --method out"):
        protect_config("quick", (32, 32), "float32", given)


def test_methods_bring_their_own_settings():
    tap = protect_config("paper", (32, 32), "float32", {"method": "tap"})
    assert (tap.final_steps, to_json(tap)["final_alpha"], tap.final_draws) == (250, "0.064/255", 1)
    assert (tap.steps, tap.lr_every) == (40_000, 16_000), "its network is a victim of clean images"
    large = protect_config("paper", (256, 256), "float32", {"method": "tap"})
    assert (large.steps, large.final_steps, to_json(large)["final_alpha"]) == (40_000, 100, "0.16/255")
    for size, crop in (((32, 32), "crop-flip"), (None, "resized-crop")):
        push = protect_config("quick", size, "float32", {"method": "push"})
        assert (push.steps, push.pool, push.noise_views) == (640, 0, (crop, "grey=0.3", "blur=0.3"))
        given = {"method": "push", "noise_views": "same"}
        assert protect_config("quick", size, "float32", given).noise_views == ("same",)
    em = protect_config("paper", (32, 32), "float32", {"method": "em"})
    assert (em.steps_u, to_json(em)["alpha_u"], em.draws) == (10, "1.6/255", 1)
    ntga = protect_config("paper", (32, 32), "float32", {"method": "ntga", "rho_u": "16/255"})
    assert (ntga.craft_batch, ntga.final_steps, to_json(ntga)["final_alpha"]) == (512, 10, "1.76/255")


def test_the_surrogate_of_quick_photographs_knows_the_noise_and_not_the_pictures():
    quick = protect_config("quick", None, "float32", {})
    assert (quick.pool, quick.label_noise, quick.steps_u) == (1280, 1.0, 2)
    assert protect_config("quick", None, "float32", {"pool": 0, "label_noise": 0.0}).pool == 0
    hardened = protect_config("quick", None, "float32", {"views": "hardened"})
    assert hardened == dataclasses.replace(quick, views=hardened.views, steps=2000, lr_every=800)
    assert hardened.views == protect_config("quick", None, "float32", {"views": "grey=0.3"}).views
    assert protect_config("quick", None, "float32", {"views": "hardened", "steps": 900}).steps == 900
    others = [("quick", (32, 32), {}), ("paper", None, {}), ("quick", None, {"method": "rem"})]
    assert not any(protect_config(preset, size, "float32", given).pool for preset, size, given in others)


@pytest.mark.parametrize("method", ["tap", "push", "ntga", "sc"])
@pytest.mark.parametrize(("preset", "size"), [("quick", (32, 32)), ("quick", None), ("paper", None)])
def test_hardened_brings_no_training_to_methods_that_have_their_own(method, preset, size):
    own = protect_config(preset, size, "float32", {"method": method})
    hardened = protect_config(preset, size, "float32", {"method": method, "views": "hardened"})
    assert hardened == dataclasses.replace(own, views=hardened.views)


@pytest.mark.parametrize("preset", ["quick", "medium", "paper"])
def test_step_sizes_that_hardened_brings_follow_their_radius_too(preset):
    hardened = protect_config(preset, (32, 32), "float32", {"views": "hardened"})
    half = protect_config(preset, (32, 32), "float32", {"views": "hardened", "rho_u": "4/255"})
    assert half.final_alpha == pytest.approx(hardened.final_alpha / 2)
    assert half.alpha_u == pytest.approx(hardened.alpha_u / 2)
    given = {"views": "hardened", "rho_u": "4/255", "final_alpha": "2/255"}
    assert protect_config(preset, (32, 32), "float32", given).final_alpha == 2 / 255


def test_noise_that_is_made_on_views_cannot_be_kept():
    with pytest.raises(SettingError, match="pool: where noise is made on views"):
        protect_config("quick", (32, 32), "float32", {"method": "em", "pool": 8})


def test_a_method_names_only_the_settings_that_it_reads():
    def names(method):
        return set(effective(protect_config("quick", (32, 32), "float32", {"method": method})))

    assert "rho_a" in names("sem")
    assert "patch" in names("sc")
    assert not {"rho_a", "network", "final_steps"} & names("sc")
    assert {"rho_a", "steps_a", "noise_views"} <= names("push")
    assert not {"steps_u", "draws", "label_noise", "pool", "patch"} & names("push")
    assert not {"patch"} & (names("sem") | names("ntga") | names("tap"))
    assert {"method", "rho_u", "final_steps", "craft_batch", "seed"} <= names("ntga")


def test_radii_grow_over_the_warm_up_and_then_stay():
    config = protect_config("quick", (32, 32), "float32", {"warm_up": 0.5, "steps": 100, "rho_a": "4/255"})
    radii = [config.at_warmup_step(step).rho_a * 255 for step in range(100)]
    assert radii[0] == pytest.approx(4 / 50)
    assert radii[24] == pytest.approx(2)
    assert all(a < b for a, b in itertools.pairwise(radii[:50]))
    assert radii[49:] == [config.rho_a * 255] * 51
    for name in ("alpha_a", "rho_r"):
        assert getattr(config.at_warmup_step(9), name) == pytest.approx(getattr(config, name) / 5)
    plain = protect_config("quick", (32, 32), "float32", {})
    assert plain.at_warmup_step(0) is plain
