"""Trees of files, local and through fsspec: each visible file is listed once; nothing blocks or is lost in silence."""

import contextlib
import io
import os
import tempfile
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semshard.errors import RejectedImage, SourceError
from semshard.sources.files import LARGEST, below, local_path, open_file, open_files, printable, web_name
from tests.support.servers import served


def lay(root, names, data=b"x"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(root)


@pytest.fixture
def memory():
    """The URL of a folder in memory, removed after the test."""
    system, place = fsspec.filesystem("memory"), f"memory://{uuid.uuid4().hex}"
    yield place
    if system.exists(place):
        system.rm(place, recursive=True)


def put(place, files):
    for name, data in files.items():
        fsspec.filesystem("memory").pipe(f"{place}/{name}", data)


DROPPINGS = [".DS_Store", "a/.x.png", "a/.git/y", "a/Thumbs.db", "a/desktop.ini", "__MACOSX/b/z", "a/__MACOSX/c"]


def test_names_are_sorted_by_their_bytes_and_files_of_file_managers_do_not_count(tmp_path):
    place = lay(tmp_path, ["b/1.png", "a b/1.png", "a/1.png", "a/ü.png", "a/z.png", "0.png", *DROPPINGS])
    assert open_files(place).names() == ["0.png", "a b/1.png", "a/1.png", "a/z.png", "a/ü.png", "b/1.png"]


def test_a_linked_folder_is_entered_once_and_loops_end(tmp_path):
    place = lay(tmp_path / "in", ["a/1.png", "b/1.png"])
    lay(tmp_path / "elsewhere", ["2.png", "deep/3.png"])
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "a" / "more")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "b" / "again")
    os.symlink(tmp_path / "elsewhere" / "deep", tmp_path / "in" / "b" / "inside")
    os.symlink(tmp_path / "in", tmp_path / "in" / "b" / "loop")
    files = open_files(place)
    assert files.names() == ["a/1.png", "a/more/2.png", "a/more/deep/3.png", "b/1.png"]
    assert files.remarks == ("3 linked folders not entered, as their content is read already, such as b/again",)


def test_a_link_never_takes_the_place_of_the_folder_it_leads_to(tmp_path):
    place = lay(tmp_path, ["a/1.png", "b/1.png"])
    os.symlink(tmp_path / "b", tmp_path / "a" / "first")  # would be met before b
    assert open_files(place).names() == ["a/1.png", "b/1.png"]


def test_a_link_to_the_parent_brings_what_is_beside_the_folder_and_no_file_twice(tmp_path):
    place = lay(tmp_path / "x" / "in", ["a/1.png", "b/1.png"])
    lay(tmp_path / "x", ["beside/2.png"])
    os.symlink(tmp_path / "x", tmp_path / "x" / "in" / "b" / "up")
    assert open_files(place).names() == ["a/1.png", "b/1.png", "b/up/beside/2.png"]


def test_a_link_into_a_hidden_folder_counts(tmp_path):
    place = lay(tmp_path, [".store/1.png", "b/1.png"])
    os.symlink(tmp_path / ".store", tmp_path / "a")
    os.symlink(tmp_path / ".store" / "1.png", tmp_path / "b" / "2.png")
    assert open_files(place).names() == ["a/1.png", "b/1.png", "b/2.png"]


def test_pipes_devices_and_broken_links_are_listed_and_rejected_and_do_not_block(tmp_path):
    place = lay(tmp_path, ["a/ok.png"])
    os.mkfifo(tmp_path / "a" / "pipe.png")
    os.symlink("/dev/zero", tmp_path / "a" / "device.png")
    os.symlink("nowhere", tmp_path / "a" / "dangling.png")
    os.symlink("circle.png", tmp_path / "a" / "circle.png")
    files = open_files(place)
    assert len(files.names()) == 5
    reasons = {}
    for name in files.names():
        for read in (files.read, files.open):
            try:
                result = read(name)
                (result if hasattr(result, "close") else io.BytesIO(result)).close()
            except RejectedImage as reason:
                reasons[name] = str(reason)
    assert reasons == {
        "a/pipe.png": "not a regular file",
        "a/device.png": "not a regular file",
        "a/dangling.png": "vanished",
        "a/circle.png": "cannot be read: Too many levels of symbolic links",
    }


def test_a_file_or_its_folder_that_vanished_is_called_so(tmp_path):
    files = open_files(lay(tmp_path, ["a/b/1.png", "a/2.png"]))
    (tmp_path / "a/b/1.png").unlink()
    (tmp_path / "a/b").rmdir()
    (tmp_path / "a/b").write_bytes(b"")
    for name in ("a/b/1.png", "a/3.png"):
        with pytest.raises(RejectedImage, match=r"^vanished$"):
            files.read(name)


@pytest.fixture
def open_to_all():
    """A folder that a user without rights may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextlib.contextmanager
def without_rights():
    """Root may read everything; this block may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_what_may_not_be_read_is_named(open_to_all):
    place = lay(open_to_all, ["a/1.png", "b/1.png"])
    (open_to_all / "a/1.png").chmod(0)
    (open_to_all / "b").chmod(0)
    with without_rights():
        files = open_files(place)
        assert files.names() == ["a/1.png"]
        with pytest.raises(RejectedImage, match=r"^cannot be read: Permission denied$"):
            files.read("a/1.png")
        with pytest.raises(SourceError, match=r"b cannot be read: Permission denied$"):
            open_files(f"{place}/b").names()
        with pytest.raises(SourceError, match=r"b/c cannot be read: Permission denied$"):
            open_files(f"{place}/b/c")
    (open_to_all / "b").chmod(0o755)
    assert files.remarks == ("1 folder could not be entered, such as b: Permission denied",)


def test_a_film_among_the_pictures_does_not_fill_the_memory(tmp_path):
    files = open_files(lay(tmp_path, ["a/1.mov"]))
    os.truncate(tmp_path / "a/1.mov", LARGEST + 1)  # a sparse file: it takes no space on disk
    with pytest.raises(RejectedImage, match="larger than 1024 MiB"):
        files.read("a/1.mov")


def test_names_that_are_no_utf8_survive_and_are_shown_without_ambiguity(tmp_path):
    odd = [b"\xff\xfe.png", rb"\xff\xfe.png", b"new\nline.png", "ünï→.png".encode(), b"x" * 250 + b".png"]
    for name in odd:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(name)
    files = open_files(str(tmp_path))
    names = files.names()
    assert [os.fsencode(name) for name in names] == sorted(odd)
    assert [files.read(name) for name in names] == sorted(odd)
    shown = {printable(name) for name in names}
    assert len(shown) == len(odd)
    assert {r"\xff\xfe.png", r"\\xff\\xfe.png", "ünï→.png"} <= shown


@given(st.binary(), st.binary())
def test_different_names_are_shown_differently(one, other):
    shown = [printable(os.fsdecode(name)) for name in (one, other)]
    assert (shown[0] == shown[1]) == (one == other)
    shown[0].encode()


def test_places_that_hold_nothing_to_list_are_named(tmp_path, memory):
    lay(tmp_path, ["file"])
    put(memory, {"file": b"x"})
    for place, words in {
        str(tmp_path / "nothing"): "there is no folder .*nothing",
        str(tmp_path / "file"): "file is not a folder",
        "": "there is no folder",
        f"{memory}/nothing": f"there is nothing at {memory}/nothing",
        f"{memory}/file": "is a file, not a folder",
        "nosuch://bucket/x": "cannot be opened: Protocol not known: nosuch",
    }.items():
        with pytest.raises(SourceError, match=words):
            open_files(place).names()


@pytest.mark.parametrize(("place", "package"), [("s3://bucket/x", "s3fs"), ("https://127.0.0.1/", "aiohttp")])
def test_a_protocol_without_its_package_says_what_to_install(place, package):
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(SourceError, match=f"{place} needs a package .*pip install {package}"):
            open_files(place)
    else:
        pytest.skip(f"{package} is installed")


def test_memory_is_listed_and_read_as_a_folder_is(tmp_path, memory):
    names = ["b/1.png", "a b/1.png", "a/ü.png", "a/deep/er/1.png", "0.png", *DROPPINGS]
    put(memory, {name: name.encode() for name in names})
    files, local = open_files(memory), open_files(lay(tmp_path, names))
    assert files.names() == local.names()
    assert [files.read(name) for name in files.names()] == [name.encode() for name in local.names()]
    with files.open("a b/1.png") as file:
        file.seek(-5, os.SEEK_END)
        assert file.read() == b"1.png"
    for read in (files.read, files.open):
        with pytest.raises(RejectedImage, match=r"^vanished$"):
            read("a/2.png")
    with pytest.raises(RejectedImage):
        files.read("a/deep")


def test_a_zip_is_a_tree_read_by_many_threads(tmp_path):
    content = {f"{c}/{n}.bin": os.urandom(5000) for c in "ab" for n in range(40)}
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.writestr("__MACOSX/a/0.bin", b"")
    files = open_files(f"zip://::{tmp_path}/x.zip")
    assert files.names() == sorted(content)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(files.read, files.names() * 3)) == [content[name] for name in sorted(content) * 3]


class Shaky(type(fsspec.filesystem("memory"))):
    """A real file system whose first reads fail, as those over a network do."""

    protocol = "shaky"
    cachable = False
    failures = 0

    def cat_file(self, path, **options):
        if Shaky.failures > 0:
            Shaky.failures -= 1
            raise TimeoutError("no answer\nin time")
        return super().cat_file(path.removeprefix("shaky:/"), **options)


@pytest.mark.parametrize(("failures", "outcome"), [(2, b"data"), (3, "cannot be read: no answer in time")])
def test_short_failures_are_retried_twice(memory, failures, outcome):
    fsspec.register_implementation("shaky", Shaky, clobber=True)
    put(memory, {"a/1.png": b"data"})
    files = open_files(memory.replace("memory", "shaky"), pauses=(0.001, 0.001))
    Shaky.failures = failures
    if isinstance(outcome, bytes):
        assert files.read("a/1.png") == outcome
    else:
        with pytest.raises(RejectedImage, match=outcome):
            files.read("a/1.png")


def test_a_web_server_that_lists_its_folders_is_a_tree(tmp_path):
    pytest.importorskip("aiohttp", reason="https:// needs aiohttp, an extra of fsspec")
    names = ["a/1.png", "a/deep/2 %23#.png", "b/ü &amp;.png", ".hidden/x"]
    lay(tmp_path, names, b"data")

    with served(tmp_path) as url:
        files = open_files(url)
        assert files.names() == sorted(names[:3])
        assert [files.read(name) for name in files.names()] == [b"data"] * 3
        with pytest.raises(RejectedImage, match=r"^vanished$"):
            files.read("a/none.png")
        with pytest.raises(SourceError, match="there is nothing at"):
            open_files(f"{url}none").names()


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("sp%20ace.png", "sp ace.png"),
        ("a&amp;b.png", "a&b.png"),
        ("%C3%BC.png", "ü.png"),
        ("%2523.png", "%23.png"),
        ("?C=N;O=D", ""),
        ("a/#top", ""),
    ],
)
def test_links_of_a_listing_become_names(link, name):
    assert web_name(link) == name


def test_single_files_open_here_and_elsewhere(tmp_path, memory):
    lay(tmp_path, ["t.csv"], b"local")
    put(memory, {"t.csv": b"remote"})
    for place, data in {
        f"{tmp_path}/t.csv": b"local",
        f"file://{tmp_path}/t.csv": b"local",
        f"{memory}/t.csv": b"remote",
    }.items():
        with open_file(place) as file:
            file.seek(1)
            assert file.read() == data[1:]
    for place in (f"{tmp_path}/none.csv", f"{memory}/none.csv"):
        with pytest.raises(SourceError, match=r"there is no file .*none\.csv"):
            open_file(place)
    with pytest.raises(SourceError, match="not a regular file"):
        open_file(str(tmp_path))


def test_a_path_that_looks_like_a_url_is_a_path_if_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert local_path("a::b") is None
    (tmp_path / "a::b").mkdir()
    assert local_path("a::b") == "a::b"
    assert local_path("file:///x/y") == "/x/y"
    assert local_path("s3://x/y") is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/1.png", "a/1.png"),
        ("./a/1.png", "a/1.png"),
        ("a\\1.png", "a/1.png"),
        ("/data/in/a//1.png", "a/1.png"),
        ("/data/inner/a/1.png", "/data/inner/a/1.png"),
        ("s3://bucket/in/a/1.png", "a/1.png"),
        ("../b/1.png", "../b/1.png"),
    ],
)
def test_written_paths_become_names(path, name):
    assert below(path, ("/data/in", "s3://bucket/in")) == name
