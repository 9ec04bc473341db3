"""Sets of attackers with a name: who is in them, and what cannot be asked for together."""

import pytest

import semshard
from semshard.settings import COUNTERMEASURES, NO_ADVERSARY, SETS, verify_config
from semshard.verification.request import VerifyRequest
from semshard.victims import attackers

SIZE = (32, 32)


def asked(**settings):
    """The attackers of a request, as (countermeasure, grey levels of the radius), and its config."""
    request = VerifyRequest("shards", preset="quick", device="cpu", settings=settings)
    config = request.config(SIZE, request.runtime())
    return {(each.countermeasure, round(each.rho_a * 255)) for each in attackers(config)}, config


def members(name):
    return {(countermeasure, round(rho * 255)) for countermeasure, rho in SETS[name]}


def test_usual_holds_those_that_win_in_our_tables_and_adversarial_training_up_to_the_budget():
    winners = {("grey", 0), ("jpeg-10", 4), ("grey", 4), ("resize", 4), ("gaussian", 4), ("denoise", 0)}
    assert members("usual") >= winners | {("none", radius) for radius in (0, 2, 4, 6, 8)}


def test_strong_adds_stacks_filters_with_an_adversary_and_early_stopping():
    assert members("strong") >= members("usual")
    for name in ("grey+jpeg-10", "jpeg-10+gaussian", "normalise", "equalise", "early-stop"):
        assert {(name, 0), (name, 4)} <= members("strong")
    assert {(name, 4) for name in ("mean", "median", "gaussian", "resize", "bits-2")} <= members("strong")


def test_all_is_every_countermeasure_at_every_usual_radius_that_it_can_have():
    every = {(name, radius) for name in COUNTERMEASURES for radius in (0, 2, 4, 6, 8)}
    assert every - members("all") == {(name, radius) for name in NO_ADVERSARY for radius in (2, 4, 6, 8)}


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_each_attacker_once_and_a_config_spans_exactly_its_pairs(name):
    assert len(set(SETS[name])) == len(SETS[name])
    tried, config = asked(attackers=name)
    assert tried == members(name)
    assert config.attackers == name
    assert not config.compares_all


def test_usual_is_tried_where_no_attacker_is_named():
    tried, config = asked()
    assert (tried, config.attackers) == (members("usual"), "usual")
    assert asked(victim="small", seeds=2)[0] == tried


def test_listed_attackers_are_those_of_the_lists():
    assert asked(countermeasure="mean,none", rho_a="0,2/255")[0] == {(n, r) for n in ("mean", "none") for r in (0, 2)}
    assert asked(countermeasure="mean")[0] == {("mean", 4)}
    with_radii = {(name, radius) for name in ("none", "grey", "jpeg-10") for radius in (0, 2)}
    for more in ({}, {"attackers": "listed"}):
        tried, config = asked(rho_a="2/255", **more)
        assert tried == with_radii
        assert config.compares_all


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "given", [{"rho_a": "0"}, {"countermeasure": "none"}, {"countermeasure": "none", "rho_a": "0"}]
)
def test_a_set_and_members_of_another_are_refused_in_one_line(name, given):
    with pytest.raises(semshard.SettingError) as error:
        asked(attackers=name, **given)
    assert str(error.value) == (
        f"attackers = {name} has countermeasures and radii of its own: leave out it or {' and '.join(sorted(given))}"
    )


def test_an_unknown_set_is_refused():
    with pytest.raises(semshard.SettingError, match="attackers = 'weak' is unknown; choose one of: listed, usual"):
        asked(attackers="weak")


def test_usual_has_an_adversary_of_one_large_step_in_preset_quick_unless_another_is_given():
    preset = verify_config("quick", SIZE, "float32", {})
    usual, strong, given = (asked(**settings)[1] for settings in ({}, {"attackers": "strong"}, {"steps_a": 7}))
    assert (usual.steps_a, usual.step_share) == (1, 1.25)
    assert (usual.steps, usual.lr_every) == (preset.steps, preset.lr_every)
    assert (strong.steps_a, strong.step_share) == (preset.steps_a, preset.step_share)
    assert (given.steps_a, given.step_share, given.steps) == (7, preset.step_share, preset.steps)
    assert verify_config("paper", SIZE, "float32", {"attackers": "usual"}).steps_a == 10
    assert verify_config("paper", SIZE, "float32", {"attackers": "usual"}).steps == 40_000
