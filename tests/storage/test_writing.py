"""A run into an object store ends in the bytes of a run into a folder, whatever others do there at the same time."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import semshard
from semshard.engine import Runtime
from semshard.protection.nesting import refuse_nesting_in_store
from semshard.storage import open_place
from tests.support.command import semshard as command
from tests.support.forks import forks
from tests.support.object_store import Fault
from tests.support.stored import objects, private, protect


@pytest.fixture
def url(store, prefix):
    return f"s3://bucket/{prefix}/shards"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files, which has to be empty afterwards."""
    forks()  # whose own files lie elsewhere
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def writes(store):
    """What was sent, by name, below shards/ and shards.ledger/."""
    return [found[1] for each in store.requests if (found := re.match(r"(?:PUT|POST) /bucket/test-\d+/(.*)", each))]


def test_one_call_makes_what_it_makes_in_a_folder_in_an_order_that_shows_nothing_half_done(finished, url, store):
    result = protect(finished, url)
    assert (result.out, result.ledger, result.made, result.samples) == (url, f"{url}.ledger", 3, 40)
    assert objects(url) == objects(finished / "shards")
    assert private(f"{url}.ledger") == private(finished / "shards.ledger")
    sent = writes(store)
    run, index, surrogate = (
        sent.index(f"shards.ledger/{name}") for name in ("run.json", "index.json", "surrogate.safetensors")
    )
    assert run < sent.index("shards.ledger/index/00000.parquet") < index < surrogate < sent.index("shards/00000.tar")
    for stem in ("00000", "00001", "00002"):
        files = [f"shards/{stem}.tar", f"shards/{stem}.parquet", f"shards.ledger/{stem}.parquet"]
        assert [sent.count(each) for each in files] == [1, 1, 1]
        assert max(map(sent.index, files)) < sent.index(f"shards/{stem}_stats.json")
    assert sent[-1] == "shards/manifest.json"
    assert semshard.audit(url, ledger=f"{url}.ledger").ok


def test_a_finished_run_is_left_alone_and_its_card_can_be_changed(finished, url, store):
    protect(finished, url)
    store.requests.clear()
    assert protect(finished, url).made == 0
    assert not [each for each in store.requests if not each.startswith(("GET", "HEAD"))]
    protect(finished, url, title="Shapes")
    semshard.card(finished / "shards", title="Shapes")
    assert objects(url) == objects(finished / "shards")


@pytest.mark.slow
def test_parts_in_any_order_and_twice_make_what_one_call_makes(finished, url):
    found = protect(finished, url, until="surrogate")
    assert (found.shards, found.made, found.ledger) == (3, 0, f"{url}.ledger")
    assert [protect(finished, url, part=part).made for part in ("3/3", "1/3", "1/3", "2/3")] == [1, 1, 0, 1]
    assert "manifest.json" not in objects(url)
    found = protect(finished, url, finish=True)
    assert (found.samples, found.made) == (40, 0)
    assert objects(url) == objects(finished / "shards")
    assert private(f"{url}.ledger") == private(finished / "shards.ledger")


@pytest.mark.slow
def test_the_status_counts_the_shards_that_are_done(finished, url, store):
    with pytest.raises(semshard.ShardError, match=r"holds no manifest\.json"):
        semshard.status(url)
    protect(finished, url, until="surrogate")
    found = semshard.status(url)
    assert (found.phase, found.has_ledger, found.shards_done) == ("craft", True, 0)
    store.requests.clear()
    protect(finished, url, part="2/3")
    assert sum("/00001" in each for each in store.requests) == 5 + 2  # the first mark is sent twice, to see it refused
    found = semshard.status(url)
    assert (found.phase, found.running, found.shards_done, found.shards) == ("craft", None, 1, None)
    assert found.next.startswith("the same protect command continues it")
    protect(finished, url)
    found = semshard.status(url)
    assert (found.phase, found.has_ledger) == ("done", True)
    assert found.next.endswith(f"each with --ledger {url}.ledger, check it")
    for name in objects(f"{url}.ledger"):
        open_place(f"{url}.ledger").delete(name)
    assert not semshard.status(url).has_ledger


@pytest.mark.slow
def test_worker_processes_make_what_one_process_makes(finished, url):
    protect(finished, url, workers=semshard.WorkerOptions(workers=2))
    assert objects(url) == objects(finished / "shards")
    assert private(f"{url}.ledger") == private(finished / "shards.ledger")


def test_a_part_needs_the_steps_before_it(finished, url, store):
    for options in ({"part": "1/3"}, {"finish": True}):
        with pytest.raises(semshard.OutputError, match=rf"^{url}\.ledger knows no run; --.* comes after"):
            protect(finished, url, **options)
    assert writes(store) == []
    protect(finished, url, until="surrogate")
    protect(finished, url, part="2/3")
    said = r"^2 of 3 shards are missing \(00000, 00002\).*--part 1/3, 3/3 in place of --finish makes them$"
    with pytest.raises(semshard.RunError, match=said):
        protect(finished, url, finish=True)


@pytest.mark.parametrize("where", ["folder", "url"])
def test_the_ledger_can_be_elsewhere(finished, url, prefix, tmp_path, where):
    ledger = tmp_path / "private" / "ledger" if where == "folder" else f"s3://bucket/{prefix}/elsewhere"
    protect(finished, url, ledger=ledger, until="surrogate")
    protect(finished, url, ledger=ledger, part="1/1")
    assert protect(finished, url, ledger=ledger, finish=True).ledger == str(ledger)
    assert objects(url) == objects(finished / "shards")
    assert private(ledger) == private(finished / "shards.ledger")
    assert objects(f"{url}.ledger") == {}
    if where == "folder":
        assert ledger.stat().st_mode & 0o077 == 0
    with pytest.raises(semshard.OutputError, match=rf"^{url} holds .*, but {url}\.ledger knows no run"):
        protect(finished, url)


@pytest.mark.slow
def test_another_run_is_refused_and_writes_nothing(finished, url, store):
    protect(finished, url)
    before = objects(url), objects(f"{url}.ledger")
    store.requests.clear()
    with pytest.raises(semshard.OutputError, match=rf"^{url} belongs to another run: seed was .*Choose another --out$"):
        protect(finished, url, seed=1)
    assert writes(store) == []
    assert (objects(url), objects(f"{url}.ledger")) == before


def test_what_somebody_else_wrote_is_left_alone(finished, url, store):
    open_place(url).put("notes.txt", b"mine")
    store.requests.clear()
    with pytest.raises(semshard.OutputError, match=rf"^{url} holds notes.txt, but {url}\.ledger knows no run"):
        protect(finished, url)
    assert writes(store) == []


FOREIGN = ("old.safetensors", "models/mine.safetensors", "scan/passport.jpg", "other.ledger/surrogate.safetensors")


def test_a_place_for_the_ledger_that_holds_something_else_is_left_alone(finished, url, store, tmp_path):
    place = tmp_path / "private"
    place.mkdir()
    place.chmod(0o755)
    for name in FOREIGN:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"precious")
        said = rf"^{place} holds {name}, but no run\.json; choose an empty place with --ledger$"
        with pytest.raises(semshard.OutputError, match=said):
            protect(finished, url, ledger=place, method="sc")
        assert objects(place) == {name: b"precious"}
        assert place.stat().st_mode & 0o777 == 0o755
        (place / name).unlink()
    assert writes(store) == []


def test_a_ledger_that_lost_the_name_of_its_run_is_refused(finished, url):
    protect(finished, url, until="surrogate", method="sc")
    open_place(f"{url}.ledger").delete("run.json")
    with pytest.raises(semshard.OutputError, match=rf"^{url}\.ledger holds index\.json, but no run\.json"):
        protect(finished, url, method="sc")


@pytest.mark.parametrize("where", ["folder", "url"])
def test_what_somebody_else_put_beside_the_ledgers_files_stays_and_is_not_read(
    finished, url, prefix, store, tmp_path, where
):
    ledger = tmp_path / "private" if where == "folder" else f"s3://bucket/{prefix}/private"
    protect(finished, url, ledger=ledger, until="surrogate", method="sc")
    place = open_place(ledger)
    for name in FOREIGN:
        place.put(name, b"precious")
    notes = tmp_path / "private" / "my notes.txt"
    if where == "folder":
        notes.write_bytes(b"precious")
    else:
        store.ask("PUT", f"/bucket/{prefix}/private/my%20notes.txt", b"precious")
    store.requests.clear()
    protect(finished, url, ledger=ledger, method="sc")
    assert not [each for each in store.requests if each.startswith("GET") and each.endswith(FOREIGN)]
    assert semshard.audit(url, ledger=ledger).ok
    mine = {*private(finished / "shards.ledger"), "run.json", "index.json"} - {"surrogate.safetensors"}
    assert {entry.name for entry in place.list()} == {*mine, "my notes.txt", *FOREIGN}
    assert [place.get(name) for name in FOREIGN] == [b"precious"] * len(FOREIGN)


class Interrupting:
    """Something that is done once, at the first event of a phase: while a run is in the middle of it."""

    def __init__(self, phase, use):
        self.phase, self.use, self.said = phase, use, []

    def __call__(self, event):
        self.said.append(event.message)
        if event.phase == self.phase and self.use:
            use, self.use = self.use, None
            use()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["scan", "surrogate", "craft"])
def test_the_same_run_elsewhere_at_the_same_moment_is_harmless(finished, url, phase):
    other = Interrupting(phase, lambda: protect(finished, url))
    assert protect(finished, url, progress=other).samples == 40
    assert other.use is None
    assert objects(url) == objects(finished / "shards")
    assert private(f"{url}.ledger") == private(finished / "shards.ledger")


def test_of_two_different_runs_at_the_same_moment_one_is_refused(finished, url):
    other = Interrupting("scan", lambda: protect(finished, url))
    with pytest.raises(semshard.OutputError, match=rf"^{url} belongs to another run: seed was"):
        protect(finished, url, seed=1, progress=other)
    assert objects(url) == objects(finished / "shards")
    assert private(f"{url}.ledger") == private(finished / "shards.ledger")


@pytest.mark.slow
def test_a_source_that_was_moved_is_the_same_run(finished, url, tmp_path):
    moved = Path(shutil.copytree(finished / "images", tmp_path / "elsewhere" / "images")).parent
    other = Interrupting("scan", lambda: protect(moved, url, until="surrogate"))
    protect(finished, url, until="surrogate", progress=other)
    protect(moved, url, part="1/2")
    protect(finished, url, part="2/2")
    protect(moved, url, finish=True)
    assert objects(url) == objects(finished / "shards")


def test_a_scan_that_finds_other_images_at_the_same_moment_is_refused(finished, url, tmp_path):
    moved = Path(shutil.copytree(finished / "images", tmp_path / "elsewhere" / "images")).parent
    image, *_ = sorted((moved / "images").glob("*/*"))
    shutil.copy(sorted((moved / "images").glob("*/*"))[-1], image)
    other = Interrupting("scan", lambda: protect(finished, url))
    with pytest.raises(semshard.OutputError, match="found other files; run the same command again"):
        protect(moved, url, progress=other)
    assert objects(url) == objects(finished / "shards")
    assert private(f"{url}.ledger") == private(finished / "shards.ledger")


def test_a_shard_of_other_bytes_is_an_error_and_stays(finished, url):
    protect(finished, url, until="surrogate")
    place = open_place(url)

    def make_another():
        for name, data in {"00001.tar": b"other", "00001.parquet": b"other", "00001_stats.json": b"{}"}.items():
            place.put(name, data)

    with pytest.raises(semshard.StorageError, match=rf"^{url} has a shard 1 of other bytes than the one .* It stays$"):
        protect(finished, url, part="1/1", progress=Interrupting("craft", make_another))
    assert place.get("00001.tar") == b"other"
    assert objects(url)["00000.tar"] == objects(finished / "shards")["00000.tar"]


@pytest.mark.parametrize("lost", ["00001.tar", "00001.parquet", "00001_stats.json", "manifest.json", "README.md"])
def test_what_is_gone_is_made_again(finished, url, lost):
    protect(finished, url)
    place = open_place(url)
    place.delete(lost)
    if lost.startswith("0"):
        place.delete("manifest.json")
    protect(finished, url)
    assert objects(url) == objects(finished / "shards")


def test_a_damaged_mark_is_named(finished, url):
    protect(finished, url)
    open_place(url).put("00001_stats.json", b"{")
    with pytest.raises(semshard.ShardError, match=rf"^{url}/00001_stats.json is damaged"):
        protect(finished, url)


def test_parts_on_another_kind_of_machine_are_refused(finished, url):
    protect(finished, url, until="surrogate")
    open_place(f"{url}.ledger").put("parts.json", b'{"parts": 2, "made_on": {"device": "another"}}')
    for _ in range(2):
        with pytest.raises(semshard.OutputError, match=r"another kind of machine.*device was another"):
            protect(finished, url, part="1/3")
        protect(finished, url, until="surrogate")  # which cannot know whether a part is at work now


def test_a_training_goes_on_elsewhere_from_its_checkpoint(finished, url, monkeypatch):
    monkeypatch.setattr(Runtime, "report_seconds", 0.0)  # after every step

    def stop():
        raise KeyboardInterrupt

    class Stopping(Interrupting):
        def __call__(self, event):
            if event.done == 2:
                super().__call__(event)

    with pytest.raises(KeyboardInterrupt):
        protect(finished, url, until="surrogate", checkpoint_seconds=0, progress=Stopping("surrogate", stop))
    assert "checkpoint.safetensors" in objects(f"{url}.ledger")
    said = []
    protect(finished, url, until="surrogate", progress=lambda event: said.append(event.message))
    assert any("continues from step" in message for message in said)
    there, here = objects(f"{url}.ledger"), objects(finished / "shards.ledger")
    assert there["surrogate.safetensors"] == here["surrogate.safetensors"]
    assert "checkpoint.safetensors" not in there


def test_a_scan_goes_on_elsewhere_from_its_blocks(finished, url, store):
    store.faults.append(Fault("refuse", "PUT", status=400, code="Strange", path="run.json", times=99))
    with pytest.raises(semshard.StorageError, match=r"run\.json: the store answered 400 \(Strange\)"):
        protect(finished, url)
    assert sorted(objects(f"{url}.ledger")) == ["rejects.jsonl", "scan/00000.parquet"]
    store.faults.clear()
    read = []
    protect(finished, url, until="surrogate", progress=lambda event: read.append((event.phase, event.done)))
    assert ("scan", 0) not in read
    assert not any(name.startswith("scan/") for name in objects(f"{url}.ledger"))


@pytest.mark.slow
def test_inputs_that_cannot_be_read_are_accounted_for(finished, url):
    broken, late = sorted((finished / "images").glob("*/*"))[:2]
    broken.write_bytes(b"no image")

    def break_another():
        late.write_bytes(b"changed")

    with pytest.raises(semshard.TooManyRejects, match=rf"1 of 40 inputs.*see {url}\.ledger/rejects\.jsonl"):
        protect(finished, url)
    assert b"no image" not in objects(f"{url}.ledger")["rejects.jsonl"]
    result = protect(finished, url, max_rejects=0.1, progress=Interrupting("surrogate", break_another))
    assert (result.samples, result.rejected) == (38, 2)
    assert objects(f"{url}.ledger")["rejects.jsonl"].count(b"\n") == 2
    assert semshard.audit(url, ledger=f"{url}.ledger").ok


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"overwrite": True}, "--overwrite is not possible in an object store"),
        ({"extend": True}, "--extend is not possible in an object store"),
        ({"retry_rejects": True}, "--retry-rejects is not possible in an object store"),
        ({"sign_key": "owner.key"}, "--sign-key is not possible in an object store"),
        ({"workers": semshard.WorkerOptions("ray")}, "--engine ray needs a folder that all nodes share"),
        ({"ledger": "s3://bucket/x/shards/private"}, "is private, and must lie outside"),
        ({"ledger": "s3://bucket/x"}, "is private, and must lie outside"),
        ({"ledger": "hf://org/set"}, "hf:// is not opened here"),
        ({"out": "s3://bucket"}, "is a whole bucket, beside which there is no room for the ledger"),
        ({"out": "https://host/x"}, "https:// is not opened here; give a folder, or s3://…"),
        ({"out": "s3://KEY:secret@bucket/x"}, "credentials and options belong in the environment"),
        ({"out": "shards", "ledger": "elsewhere"}, "--ledger is for --out s3://…"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_done(finished, store, options, said):
    with pytest.raises(semshard.UsageError, match=said) as error:
        protect(finished, options.pop("out", "s3://bucket/x/shards"), **options)
    assert error.value.exit_code == 2
    assert "secret" not in str(error.value)
    assert store.requests == []


@pytest.mark.parametrize(
    ("spec", "out", "said"),
    [
        ("s3://b/x", "s3://b/x", "lies inside the source"),
        ("s3://b/x", "s3://b/x/shards", "lies inside the source"),
        ("s3://b/x/imgs/", "s3://b/x", "contains the source"),
        ("wds:s3://b/x/{00..99}.tar", "s3://b/x", "contains the source"),
        ("wds:s3://b/x/{00..99}.tar", "s3://b/x/shards", ""),
        ("s3://b/x", "s3://b/xy", ""),
        ("gs://b/x", "s3://b/x", ""),
        ("imgs", "s3://b/x", ""),
    ],
)
def test_a_source_and_an_output_in_a_store_do_not_lie_inside_each_other(spec, out, said):
    if not said:
        refuse_nesting_in_store(spec, out)
        return
    with pytest.raises(semshard.OutputError, match=said):
        refuse_nesting_in_store(spec, out)


@pytest.mark.slow
def test_the_command_says_where_everything_is_and_refuses_in_one_sentence(finished, url, store, tmp_path):
    done = command("protect", finished / "images", "--out", url, "--preset=quick", "--method=sc", "--dry-run")
    assert url in done.stdout
    assert writes(store) == []
    given = ("protect", finished / "images", "--out", url, "--overwrite")
    said = command(*given, expect=2).stderr
    assert said == (
        f"semshard: error: --overwrite is not possible in an object store: do it in a folder, and copy that to {url}\n"
    )
    done = command("protect", finished / "images", "--out", url, "--preset=quick", "--method=sc")
    assert f"{url}.ledger" in done.stdout
    assert str(tempfile.gettempdir()) not in done.stdout + done.stderr
    assert os.listdir(tmp_path / "temporary") == []
    assert semshard.status(url).phase == "done"
