"""A run in numbered parts ends in the bytes of a run in one call; what does not fit is refused in words."""

import json
import shutil

import pytest

import semshard
from semshard.errors import TooManyRejects
from semshard.shards import Ledger, done_stats, ledger_path
from tests.support.command import semshard as program
from tests.support.parts import copy_of, everything, step
from tests.support.runs import TINY, public_bytes


@pytest.fixture(scope="module")
def _prepared(_drawn, tmp_path_factory):
    home = tmp_path_factory.mktemp("prepared")
    shutil.copytree(_drawn, home / "images")
    found = step(home, until="surrogate")
    assert (found.shards, found.made, found.samples, found.part) == (3, 0, 0, "")
    assert found.next.startswith("shards to be made: 3; the same command with --part I/N makes them")
    return home


@pytest.fixture
def prepared(_prepared, tmp_path):
    """images/ and shards.ledger/ of a run that ended when its surrogate was trained, for this test alone."""
    return copy_of(_prepared, tmp_path)


@pytest.fixture(scope="module")
def _made(_prepared, tmp_path_factory):
    home = copy_of(_prepared, tmp_path_factory.mktemp("made"))
    assert [step(home, part=f"{number}/3").made for number in (3, 1, 1, 2)] == [1, 1, 0, 1]
    return home


@pytest.fixture
def made(_made, tmp_path):
    """A run whose parts have made all shards, in an order of their own, one of them twice."""
    return copy_of(_made, tmp_path)


def test_parts_in_any_order_end_in_the_bytes_of_one_call(made, finished):
    assert not (made / "shards" / "manifest.json").exists()
    found = step(made, finish=True)
    assert (found.samples, found.shards, found.made, found.next) == (40, 3, 0, "")
    assert everything(made) == everything(finished)
    assert semshard.audit(made / "shards").ok
    before = {path: path.stat().st_mtime_ns for path in (made / "shards").iterdir()}
    step(made, finish=True)
    assert {path: path.stat().st_mtime_ns for path in (made / "shards").iterdir()} == before


def test_the_command_without_a_step_completes_what_parts_have_begun(prepared, finished):
    found = step(prepared, part="2/2")
    assert (found.part, found.shards, found.made, found.samples) == ("2/2", 1, 1, 16)
    assert "--finish in place of --part 2/2" in found.next
    assert step(prepared).made == 2
    assert everything(prepared) == everything(finished)


def test_more_parts_than_shards_have_nothing_to_do(prepared):
    found = step(prepared, part="7/9")
    assert (found.shards, found.made, found.samples, found.psnr_mean) == (0, 0, 0, 0.0)
    assert not list((prepared / "shards").glob("*"))


def test_to_finish_too_early_names_the_shards_and_the_parts_that_make_them(made):
    for name in ("00001_stats.json", "00002.tar"):
        (made / "shards" / name).unlink()
    with pytest.raises(
        semshard.RunError, match=r"2 of 3 shards are missing \(00001, 00002\).*--part 2/3, 3/3"
    ) as error:
        step(made, finish=True)
    assert error.value.exit_code == 1
    assert not (made / "shards" / "manifest.json").exists()


def test_to_finish_while_parts_are_at_work_says_what_is_missing(made):
    (made / "shards" / "00001_stats.json").unlink()
    with (
        Ledger(ledger_path(made / "shards")).locked(shared=True),
        pytest.raises(semshard.RunError, match=r"1 of 3 shards are missing \(00001\)"),
    ):
        step(made, finish=True)


def test_a_part_before_the_surrogate_is_refused_and_writes_nothing(tmp_path, images, prepared):
    for options in ({"part": "1/3"}, {"finish": True}):
        with pytest.raises(semshard.OutputError, match=r"knows no run; --.* comes after the same command with --until"):
            step(tmp_path, **options)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "copy"}
    (prepared / "shards.ledger" / "surrogate.safetensors").unlink()
    with pytest.raises(semshard.OutputError, match=r"surrogate\.safetensors is missing; --part 1/3 comes after"):
        step(prepared, part="1/3")
    assert not list((prepared / "shards").glob("*"))


def test_a_part_neither_scans_nor_trains(prepared):
    said = []
    step(prepared, part="1/3", progress=said.append)
    assert {event.phase for event in said if event.total} == {"craft"}


def test_a_part_with_other_settings_is_refused(prepared):
    with pytest.raises(semshard.OutputError, match="belongs to another run: rho_u was 8/255, is 4/255"):
        step(prepared, part="1/3", rho_u="4/255")
    with pytest.raises(semshard.OutputError, match="seed was"):
        step(prepared, finish=True, seed=1)


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("name", ["torch", "device", "semshard"])
def test_a_part_with_other_software_or_on_another_kind_of_device_is_refused(prepared, name):
    run = prepared / "shards.ledger" / "run.json"
    change(run, software=json.loads(run.read_text())["software"] | {name: "other"})
    with pytest.raises(semshard.OutputError, match=f"{name} was other, is"):
        step(prepared, part="1/3")


@pytest.mark.parametrize("name", ["torch", "device", "instructions"])
def test_all_parts_are_made_on_the_kind_of_machine_that_made_the_first(made, name):
    parts = made / "shards.ledger" / "parts.json"
    change(parts, made_on=json.loads(parts.read_text())["made_on"] | {name: "other"})
    (made / "shards" / "00001.tar").unlink()
    with pytest.raises(
        semshard.OutputError, match=f"another kind of machine.*{name} was other, is .*Run --part 2/3 on"
    ):
        step(made, part="2/3")
    assert step(made, part="1/3").made == 0  # nothing to make, nothing to refuse


def test_before_the_first_shard_the_kind_of_machine_can_be_chosen_anew(prepared):
    parts = prepared / "shards.ledger" / "parts.json"
    parts.write_text(json.dumps({"parts": 2, "made_on": {"device": "other"}}))
    with pytest.raises(semshard.OutputError, match="another kind of machine"):
        step(prepared, part="1/3")
    step(prepared, until="surrogate")
    assert step(prepared, part="1/3").made == 1
    assert json.loads(parts.read_text())["parts"] == 3


def test_a_part_is_measured_by_its_own_rejects_and_the_whole_when_it_is_finished(prepared):
    ledger = Ledger(ledger_path(prepared / "shards"))
    planned = [row for row in ledger.inputs() if row.shard >= 0]
    for row in [row for row in planned if row.shard == 1][:2]:
        (prepared / "images" / row.source).write_bytes(b"changed")
    assert step(prepared, part="1/3").made == 1
    said = r"[12] of 16 inputs are unusable, more than --max-rejects 4.00% allows in part 2/3, which is measured by"
    with pytest.raises(TooManyRejects, match=said):
        step(prepared, part="2/3", max_rejects=0.04)
    assert done_stats(prepared / "shards", 1) is None
    assert step(prepared, part="2/3", max_rejects=0.2).rejected == 2
    assert step(prepared, part="3/3", max_rejects=0).made == 1
    with pytest.raises(TooManyRejects, match=r"2 of 40 inputs are unusable, more than --max-rejects 4.00% allows"):
        step(prepared, finish=True, max_rejects=0.04)
    assert not (prepared / "shards" / "manifest.json").exists()
    assert step(prepared, finish=True, max_rejects=0.05).rejected == 2
    assert semshard.audit(prepared / "shards").ok


def test_images_that_are_added_can_be_made_in_parts(finished, tmp_path):
    shutil.copy(finished / "images" / "disc" / "0000000.png", finished / "images" / "disc" / "new.png")
    whole = copy_of(finished, tmp_path / "whole")
    step(whole, extend=True)
    assert "shards to be made: 1;" in step(finished, extend=True, until="surrogate").next
    assert step(finished, part="4/4").made == 1
    assert step(finished, finish=True).samples == 41
    assert public_bytes(finished / "shards") == public_bytes(whole / "shards")
    assert semshard.audit(finished / "shards").ok


def test_a_method_without_a_surrogate_has_parts_too(tmp_path, images):
    settings = {"preset": "quick", "method": "sc", "shard_size": 16, "seed": 3}
    semshard.protect(images, tmp_path / "whole", **settings)
    semshard.protect(images, tmp_path / "parts", until="surrogate", **settings)
    for number in (2, 1):
        semshard.protect(images, tmp_path / "parts", part=f"{number}/2", **settings)
    semshard.protect(images, tmp_path / "parts", finish=True, **settings)
    assert public_bytes(tmp_path / "parts") == public_bytes(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"until": "surrogate", "finish": True}, "different steps"),
        ({"part": "1/2", "finish": True}, "different steps"),
        ({"until": "scan"}, "ended at surrogate only"),
        ({"until": ""}, "ended at surrogate only"),
        ({"part": ""}, "not a valid part"),
        ({"part": "1/2", "overwrite": True}, "not with --part 1/2"),
        ({"finish": True, "extend": True}, "not with --finish"),
        ({"part": "1/2", "retry_rejects": True}, "not with --part 1/2"),
    ],
)
def test_steps_that_exclude_each_other_are_refused(tmp_path, options, said):
    with pytest.raises(semshard.SettingError, match=said):
        step(tmp_path, **options)


def test_the_command_refuses_a_dry_run_of_a_step(images, tmp_path):
    done = program("protect", images, "--out", tmp_path / "o", "--dry-run", "--part", "1/2", expect=2)
    assert "leave out --until, --part and --finish" in done.stderr


def test_parts_of_a_run_are_seen_by_its_status(made):
    with Ledger(ledger_path(made / "shards")).locked(shared=True):
        assert semshard.status(made / "shards").running
    found = semshard.status(made / "shards")
    assert (found.phase, found.running, found.shards_done) == ("finish", False, 3)


@pytest.mark.slow
def test_a_finished_step_is_given_as_json(prepared):
    given = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    done = program("protect", prepared / "images", "--out", prepared / "shards", *given, "--part=1/3", "--json")
    about = json.loads(done.stdout)
    assert (about["part"], about["shards"], about["made"], about["samples"]) == ("1/3", 1, 1, 16)
    assert "--finish" in about["next"]
