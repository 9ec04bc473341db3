"""Reproducing the paper: its numbers as data, the cells they stand for, ours beside them, nothing made twice."""

import json
import re

import pytest

import semshard
from semshard.reproduction.result import ReproduceResult
from semshard.reproduction.tables import FIGURES, TABLES, TableCell, grouped, paper_blocks, paper_table
from semshard.settings import NETWORKS, protect_config, verify_config
from semshard.victims import BY_NAME
from tests.support.reproduction import SMALL, VICTIM


def finals(folder):
    """The final accuracies of all victims of the table in folder/out."""
    victims = json.loads((folder / "out" / "victims.json").read_text())["results"]
    return [victim["final"] for victim in victims.values()]


def every_cell(table):
    for block in paper_blocks(table):
        yield from block.all_cells()


@pytest.mark.parametrize("table", TABLES)
def test_every_cell_stands_for_settings_that_exist(table):
    for cell in every_cell(table):
        if cell.protect is not None:
            protect_config("paper", (32, 32), "float32", cell.protect)
        assert cell.victim["network"] in NETWORKS
        assert cell.victim["countermeasure"] in BY_NAME
        verify_config("paper", (32, 32), "float32", {"rho_a": cell.victim["rho_a"]})
        assert cell.paper is None or 0 < cell.paper < 100


def test_the_numbers_are_the_papers():
    """Spot checks against the printed tables; among them every number that the text of the paper repeats."""

    def of(table, row, column):
        return next(cell.paper for cell in every_cell(table) if (cell.row, cell.column) == (row, column))

    assert of("table2", "SEM", "4/255") == 31.92
    assert of("table2", "Clean Data", "0") == 94.66
    assert of("table2", "REM", "4/255") == 48.16
    assert of("table3", "WRN-34-10", "SEM") == 31.42
    assert of("table4", "Gaussian", "NTGA") == 41.85
    assert of("table5", "50 %", "5000") == 47.22
    assert of("table6", "4/255", "0") == 89.3
    assert of("table7", "noise pgd, model pgd", "4/255") == 46.72
    assert of("table8", "SEM", "0") == 10.56


def test_a_cell_names_the_network_that_is_trained():
    def networks(table, scale):
        first = paper_table(table)
        preset = verify_config(scale, (32, 32), "float32", {})
        cells = first.with_networks(first.cells(["*"]), preset)
        return {cell.victim["network"] for cell in cells}

    assert networks("table2", "quick") == {"small"}
    assert networks("table2", "medium") == {"resnet9"}
    assert networks("table2", "paper") == {"resnet18"}
    authors = {"vgg16-paper", "resnet18", "resnet50", "densenet121-paper", "wrn34-10-paper"}
    assert networks("table3", "quick") == authors


def test_noise_that_is_made_for_a_radius_follows_its_column():
    cells = {(cell.row, cell.column): cell for cell in every_cell("table2")}
    assert cells["SEM", "2/255"].protect["rho_a"] == "2/255"
    assert "rho_a" not in cells["EM", "2/255"].protect
    assert cells["SEM of 4/255", "0"].protect == cells["SEM", "4/255"].protect, "made once for every column"
    assert cells["Clean Data", "2/255"].protect is None
    groups = grouped(paper_table("table2").cells(["*"]))
    assert len(groups) == 4 + 2 * 6 + 3, "four methods for all radii, REM and SEM anew for each, three rows of ours"
    assert cells["hardened", "8/255"].protect["rho_a"] == "5/255", "the noise that the name stands for"


@pytest.mark.slow
def test_a_table_is_filled_and_a_second_run_trains_nothing(images, tmp_path):
    def run(*cells):
        phases = []
        result = semshard.reproduce(
            "table4", images, tmp_path / "out", cells=cells, protection=SMALL, device="cpu",
            progress=lambda event: phases.append(event.phase), **VICTIM,
        )  # fmt: skip
        return result, {phase for phase in phases if "steps" in phase or "training" in phase}

    result, phases = run("Mean:SEM", "M*:Clean")
    assert [(cell.row, cell.column, cell.paper) for cell in result.cells] == [
        ("Mean", "Clean", 84.25), ("Mean", "SEM", 23.93), ("Median", "Clean", 87.04),
    ]  # fmt: skip
    assert all(0 <= cell.ours <= cell.best <= 100 for cell in result.cells)
    assert sorted(cell.ours for cell in result.cells) == sorted(round(100 * final, 2) for final in finals(tmp_path))
    assert len(phases) == 3
    again, phases = run("Mean:SEM", "M*:Clean")
    assert again == result
    assert not phases
    assert result.markdown().splitlines()[0] == "| Low-pass filters | Clean | SEM |"
    assert f"| Median | {result.cells[2].ours:.1f} (87.0) |  |" in result.markdown()
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert {cell["victim"]["filter_on"] for cell in record["cells"].values()} == {"train"}, "as in the authors' code"
    on_disk = json.loads((tmp_path / "out" / "table4.json").read_text())
    assert on_disk["cells"][1]["paper"] == 23.93
    assert "Liu" in on_disk["paper"]
    (shards,) = (path for path in (tmp_path / "out" / "protected").iterdir() if not path.name.endswith(".ledger"))
    assert json.loads((shards / "manifest.json").read_text())["settings"]["rho_u"] == "16/255"
    assert semshard.audit(shards).ok


@pytest.mark.slow
def test_a_table_scans_its_source_once_and_not_at_all_where_it_continues(images, tmp_path):
    def scans(*cells):
        events = []
        semshard.reproduce(
            "table2", images, tmp_path / "out", cells=cells, protection=SMALL, device="cpu",
            progress=events.append, **VICTIM,
        )  # fmt: skip
        return [event.phase for event in events if event.phase.endswith("scan") and event.done == event.total]

    assert scans("SEM:0", "EM:0", "SC:0") == ["scan"], "two surrogates and three protections"
    assert scans("SEM:0", "SC:4/255") == [], "a victim more of a protection that is there"


def test_seeds_give_a_spread_and_clean_cells_alone_need_no_surrogate(images, tmp_path):
    result = semshard.reproduce(
        "table2", images, tmp_path / "out", cells=["Clean*:0"], seeds=2, protection={"shard_size": 16}, **VICTIM
    )
    (cell,) = result.cells
    assert cell.under_pgd is None, "no adversary"
    assert "PGD" not in result.markdown()
    first, second = (100 * final for final in finals(tmp_path))
    assert cell.ours == pytest.approx((first + second) / 2, abs=0.01)
    assert cell.spread == pytest.approx(abs(first - second) / 2, abs=0.01)
    assert f"± {cell.spread:.1f} (94.7)" in result.markdown()
    assert {path.name[:2] for path in (tmp_path / "out" / "protected").iterdir()} == {"sc"}


def test_table_5_needs_one_training_and_patience_is_scaled_with_its_length(images, tmp_path):
    phases = []
    result = semshard.reproduce(
        "table5",
        images,
        tmp_path / "out",
        protection=SMALL,
        progress=lambda event: phases.append(event.phase),
        **VICTIM,
    )
    assert len(result.cells) == 20
    assert len({phase for phase in phases if "early stopping" in phase}) == 1
    assert result.victim["patience"] == [1, 2]  # 3,000 to 20,000 of 40,000 steps, of four
    assert result.cells[3].paper == 30.87
    assert [part["part"].split(" for ")[0] for part in result.parts] == ["surrogate", "images", "victim"]


def test_what_is_not_in_the_paper_is_refused(images, tmp_path):
    for wrong, words in (
        ({"table": "table9"}, "choose one of"),
        ({"table": "table4", "dataset": "imagenet100"}, "it has cifar10, cifar100"),
        ({"table": "table4", "cells": ["SEM:Mean"]}, "there are: Mean:Clean; Mean:EM"),
        ({"table": "table4", "protection": {"method": "sc", "seed": 1}}, "the table sets method, seed itself"),
        ({"table": "figure3", "seeds": 2}, "one seed"),
        ({"table": "table7", "longer": 4}, "longer is not for a reproduction"),
        ({"table": "table7", "rho_a": "1/255"}, "rho_a is not for a reproduction"),
    ):
        with pytest.raises(semshard.SettingError, match=re.escape(words)):
            semshard.reproduce(source=images, out=tmp_path / "out", **wrong)
    assert not (tmp_path / "out" / "protected").exists()


@pytest.mark.slow
def test_an_adversarially_trained_victim_shows_what_it_reaches_under_pgd(images, tmp_path):
    result = semshard.reproduce(
        "table2", images, tmp_path / "out", scale="medium", cells=["Clean*:0", "Clean*:8/255"], device="cpu",
        protection={"shard_size": 16}, **VICTIM,
    )  # fmt: skip
    standard, adversarial = result.cells
    assert standard.under_pgd is None
    assert 0 <= adversarial.under_pgd <= adversarial.ours
    heading = result.markdown().index("| Ours under PGD-10, at the victim's own radius | 8/255 |")
    assert f"| Clean Data | {adversarial.under_pgd:.1f}" in result.markdown()[heading:]
    assert result.victim["victim"] == ["resnet9"]
    assert (result.victim["schedule"], result.victim["nesterov"]) == ("one-cycle", True)


def test_a_table_says_where_adversarial_training_has_failed():
    cells = [
        TableCell("Clean Data", "4/255", 89.5, 79.0, under_pgd=50.1),
        TableCell("Clean Data", "8/255", None, 85.0, under_pgd=1.2, collapsed=True),
    ]
    text = ReproduceResult(
        "table2", "Radii", "cifar10", "medium", 1, cells, {"train": 5, "test": 2}, {"victim": ["resnet9"], "steps": 9},
        [], "",
    ).markdown()  # fmt: skip
    assert "| Clean Data | 79.0 (89.5) | 85.0 (none) |" in text
    assert "| Clean Data | 50.1 | 1.2 (collapsed) |" in text
    assert "Clean Data, 8/255: its adversarial training has failed" in text


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES)
def test_figures_are_swept_and_compared_with_what_the_text_claims(figure, images, tmp_path):
    result = semshard.reproduce(figure, images, tmp_path / "out", protection=SMALL | {"steps": 10}, **VICTIM)
    claims = paper_table(figure).content["claims"]
    ours = {cell.row: cell for cell in result.cells}
    for claim in claims:
        assert ours[claim["name"]].column == claim["text"]
    assert (tmp_path / "out" / f"{figure}.md").exists()
    assert {"figure3": len(claims), "figure5": 2 + 6 + 6}[figure] == len(result.cells)
