"""The plan of a table, made from settings and facts alone: order, shared trainings, what is left to do, keys."""

import dataclasses

import pytest

from semshard.errors import SettingError
from semshard.reproduction.plan import ImageFacts, PlanBasis, plan_table
from semshard.reproduction.tables import paper_table

FACTS = ImageFacts(images=50_000, test_images=0, classes=10, size=(32, 32), digests={"source": "ab"})


def basis(**changes):
    plain = PlanBasis(
        scale="quick", seeds=1, protection={}, victim={}, facts=FACTS, precision="float32", device="cpu"
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def plan(table, *patterns, **changes):
    return plan_table(paper_table(table), patterns or ("*",), basis(**changes))


def test_the_work_is_in_the_order_of_the_patterns_and_a_surrogate_comes_before_its_images():
    labels = [item.label for item in plan("table2", "SC:4/255", "SEM:4/255", "Clean*:0").items()]
    assert labels == [
        "images for SC, 4/255", "victim for SC, 4/255", "victim for Clean Data, 0",
        "surrogate for SEM, 4/255", "images for SEM, 4/255", "victim for SEM, 4/255",
    ]  # fmt: skip


def test_the_cells_stay_in_the_order_of_the_paper():
    cells = plan("table2", "SEM:4/255", "Clean*:0").cells
    assert [cell.name for cell in cells] == ["Clean Data:0", "SEM:4/255"]


def test_cells_that_stop_one_training_by_different_rules_share_it():
    table5 = plan("table5")
    victims = list(table5.victims())
    assert len({victim.training.key for victim in victims}) == 1
    assert len({victim.key for victim in victims}) == len(victims) == 20
    assert [item.label.split(" for ")[0] for item in table5.items()] == ["surrogate", "images", "victim"]


def test_every_seed_has_protections_and_victims_of_its_own():
    one, two = plan("table2", "SEM:4/255"), plan("table2", "SEM:4/255", seeds=2)
    assert [item.key for item in two.items()][: len(one.items())] == [item.key for item in one.items()]
    assert len({item.key for item in two.items()}) == 2 * len(one.items())
    assert [victim.label for victim in two.victims()] == ["SEM, 4/255, seed 0", "SEM, 4/255, seed 1"]


def test_what_is_done_is_not_left_and_clean_victims_alone_need_no_surrogate():
    table2 = plan("table2", "SEM:4/255", "Clean*:0", "Clean*:4/255")
    (protection,) = table2.protections
    sem, clean, other = protection.victims
    assert table2.remaining(protection, lambda victim: False) == protection
    assert table2.remaining(protection, lambda victim: True) is None
    left = table2.remaining(protection, lambda victim: victim == clean)
    assert (left.name, left.victims) == (protection.name, (sem, other))
    alone = table2.remaining(protection, lambda victim: victim in (sem, clean))
    assert alone.victims == (other,)
    assert alone.surrogate is None
    assert alone.config.method == "sc"
    assert alone.images.key in table2.labels()


def test_a_victim_of_early_stopping_has_the_rules_of_what_is_left_for_it():
    table5 = plan("table5", "50 %:5000", "0 %:*", victim={"steps": 400})
    (protection,) = table5.protections
    assert (protection.recipe.patience, protection.recipe.clean_share) == ((30, 50, 100, 200), (0.0, 0.5))
    victim = table5.protections[0].victims[0]
    assert victim.cell.victim["patience"] == 5000


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": "paper"},
        {"precision": "bfloat16"},
        {"device": "cuda"},
        {"protection": {"shard_size": 7}},
        {"victim": {"steps": 7}},
        {"facts": dataclasses.replace(FACTS, digests={"source": "cd"})},
    ],
)
def test_figures_of_other_images_settings_or_devices_have_other_keys(changes):
    def keys(table):
        return {key for victim in table.victims() for key in (victim.key, victim.training.key)}

    assert not keys(plan("table2", "*:4/255")) & keys(plan("table2", "*:4/255", **changes))


def test_the_work_of_images_and_evaluations_grows_with_their_number():
    def work(**changes):
        table = plan("table2", "SEM:4/255", facts=dataclasses.replace(FACTS, **changes))
        return {item.label.split(" for ")[0]: item.work.flop for item in table.items()}

    few, many, tested = work(images=1_000), work(images=2_000), work(images=1_000, test_images=9_000)
    assert many["images"] == 2 * few["images"]
    assert many["surrogate"] == few["surrogate"]
    assert few["victim"] < many["victim"] < tested["victim"]


@pytest.mark.parametrize("test_images", [0, 10_000])
@pytest.mark.parametrize("radius", ["0", "4/255"])
def test_a_victim_costs_what_the_samples_cost_that_it_uses(test_images, radius):
    def victim(images, **settings):
        facts = dataclasses.replace(FACTS, images=images, test_images=test_images)
        (planned,) = plan("table2", f"Clean Data:{radius}", facts=facts, victim=settings).victims()
        return planned.training.work

    assert victim(50_000, max_samples=1_000) == victim(1_000, max_samples=0)
    assert victim(50_000) == victim(20_000), "quick uses no more"
    assert victim(1_000, max_samples=2_000) == victim(1_000, max_samples=0)


def test_settings_of_the_table_are_refused_where_the_caller_sets_them():
    with pytest.raises(SettingError, match="the table sets method, seed itself"):
        plan("table2", "SEM:4/255", protection={"method": "sc", "seed": 1})
