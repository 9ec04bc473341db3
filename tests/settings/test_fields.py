"""Settings are declared once: what other parts know about them follows from the declarations."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from semshard.errors import SettingError
from semshard.settings import (
    COUNTERED,
    FIXED_IN_SWEEP,
    METHODS,
    NOT_IN_RECIPE,
    PICTURES,
    SHAPES_SURROGATE,
    TRAINED_WITH,
    ProtectConfig,
    VerifyConfig,
    declared,
    defaults,
    effective,
    names_where,
    parse,
    protect_config,
    to_json,
    verify_config,
)

ROOT = Path(__file__).parents[2]
CONFIGS = {ProtectConfig: protect_config, VerifyConfig: verify_config}
EVERY = [(config, name) for config in CONFIGS for name in declared(config)]
BOUNDED = [
    (config, name, bound)
    for config, name in EVERY
    for bound in ("at_least", "at_most", "above", "below")
    if getattr(declared(config)[name], bound) is not None
]


@pytest.mark.parametrize(("config", "name"), EVERY)
def test_a_declaration_is_whole(config, name):
    one = declared(config)[name]
    assert one.help.endswith((".", "…"))
    assert one.group
    assert not (one.at_least is not None and one.above is not None)
    assert not (one.at_most is not None and one.below is not None)
    assert one.kind in {"str", "int", "float", "bool"}
    if one.follows:
        assert declared(config)[one.follows].radius
    if one.kind in {"int", "float"} and not one.radius:
        assert one.at_least is not None or one.above is not None, "a number has a lower bound"
    assert one.trains_surrogate or not one.may_differ
    assert set(one.unused_by) <= set(METHODS)
    assert set(one.not_for) <= {"study", "table"}


@pytest.mark.parametrize(("config", "name", "bound"), BOUNDED)
def test_a_bound_is_kept(config, name, bound):
    one = declared(config)[name]
    limit = getattr(one, bound)
    step = 1 if one.kind == "int" else 1e-3
    outside = {"at_least": limit - step, "at_most": limit + step, "above": limit, "below": limit}[bound]
    with pytest.raises(SettingError, match=rf"^{name} = "):
        CONFIGS[config]("quick", (32, 32), "float32", {name: type(step)(outside)})


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("name", ["lr", "label_noise"])
def test_a_number_that_is_none_keeps_no_bound(name, value):
    with pytest.raises(SettingError, match=name):
        protect_config("quick", (32, 32), "float32", {name: value})


@pytest.mark.parametrize(("config", "name"), [each for each in EVERY if declared(each[0])[each[1]].choices])
def test_a_value_that_is_not_among_the_choices_is_refused_with_the_choices(config, name):
    one = declared(config)[name]
    valid = CONFIGS[config]("quick", (32, 32), "float32", {})
    with pytest.raises(SettingError, match=re.escape(f"choose one of: {', '.join(one.choices)}")):
        dataclasses.replace(valid, **{name: ("another",) if one.several else "another"})


@pytest.mark.parametrize(("config", "name"), EVERY)
def test_a_default_can_be_written_and_read(config, name):
    one = declared(config)[name]
    value = to_json(CONFIGS[config]("paper", (32, 32), "float32", {}))[name]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value).lower() if one.kind == "bool" else value
    expected = getattr(CONFIGS[config]("paper", (32, 32), "float32", {}), name)
    assert parse(config, name, str(text)) == expected
    if name in defaults(config):
        assert expected == defaults(config)[name]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_reads_what_no_declaration_says_that_it_leaves_out(method):
    given = {"method": method} | ({"model_step": "random"} if method == "cell" else {})
    plain = protect_config("quick", (32, 32), "float32", given)
    jpeg = protect_config("quick", (32, 32), "float32", given | {"format": "jpeg"})
    unused = set(names_where(ProtectConfig, unused_by=method))
    assert set(effective(jpeg)) == set(declared(ProtectConfig)) - unused
    assert set(effective(plain)) == set(declared(ProtectConfig)) - unused - {"quality"}
    assert list(effective(plain)) == [name for name in declared(ProtectConfig) if name in effective(plain)]
    if not plain.has_surrogate:
        only_trained = {name for name in TRAINED_WITH if declared(ProtectConfig)[name].group == "surrogate"}
        assert only_trained <= unused


def test_what_only_the_methods_of_the_grid_read():
    grid = {
        "noise_step", "model_step", "noise_views", "steps_u", "alpha_u", "draws", "rho_r", "rho_a", "steps_a",
        "alpha_a",
    }  # fmt: skip
    network = {
        "network", "steps", "batch", "lr", "lr_every", "momentum", "weight_decay", "round_every", "final_draws",
        "views", "pad", "crop", "final_views",
    }  # fmt: skip
    both = grid | {"label_noise", "warm_up", "pool", "push_steps", "patch"}
    assert set(names_where(ProtectConfig, unused_by="tap")) == both
    assert set(names_where(ProtectConfig, unused_by="ntga")) == both | network
    assert set(names_where(ProtectConfig, unused_by="sc")) == (both - {"patch"}) | network | {
        "final_steps", "final_alpha",
    }  # fmt: skip
    for method in ("sem", "rem", "rem-u", "rem-theta", "em", "em-aligned", "cell"):
        assert names_where(ProtectConfig, unused_by=method) == ("patch",)


def test_a_surrogate_depends_on_all_that_its_training_reads():
    assert set(SHAPES_SURROGATE) - set(TRAINED_WITH) == {"rho_u", "seed", "precision", "resolution"}
    assert {name for name, one in declared(ProtectConfig).items() if one.group == "surrogate"} <= set(TRAINED_WITH)
    assert not {"final_steps", "final_alpha", "final_draws", "shard_size", "craft_batch"} & set(SHAPES_SURROGATE)
    assert set(PICTURES) & set(TRAINED_WITH) == {"quality", "jpeg_safe"}


def test_what_is_not_the_recipe_of_a_victim_is_its_attacker_its_seed_and_its_data():
    assert set(NOT_IN_RECIPE) == {
        "preset", "victim", "rho_a", "countermeasure", "start", "protected_fraction", "seeds", "seed", "holdout",
        "max_samples", "filter_on", "longer", "attackers",
    }  # fmt: skip
    studies = set(names_where(VerifyConfig, not_for="study"))
    assert studies == set(COUNTERED)
    assert set(names_where(VerifyConfig, not_for="table")) == studies | {"victim", "rho_a", "seed"}
    assert set(FIXED_IN_SWEEP) == {"preset", "precision", *PICTURES}


def test_no_other_file_lists_names_of_settings():
    """Five names of settings in one literal are a list that belongs to the declarations."""
    names = {name for config in CONFIGS for name in declared(config)}
    for path in sorted([*(ROOT / "semshard").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = [each.value for each in node.elts if isinstance(each, ast.Constant)]
                assert len({str(word) for word in words} & names) < 5, f"{path.name}: {words}"
