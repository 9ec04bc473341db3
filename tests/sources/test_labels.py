"""Tables that name a class for each file, as spreadsheets, scripts and data frames write them."""

import contextlib
import uuid

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semshard.errors import SourceError
from semshard.sources.labels import class_order, read_labels
from tests.support.label_tables import TABLE_KINDS, write_table

ROWS = [("a/1.png", "cat"), ("a/2, or 3.png", "dog, big"), ("ü/new\nline.png", "猫"), ("b.png", "")]


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_every_format_gives_the_same_labels(tmp_path, kind):
    assert read_labels(write_table(tmp_path / f"labels.{kind}", ROWS)) == dict(ROWS)


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_columns_are_named_by_option_and_missing_ones_are_named(tmp_path, kind):
    place = write_table(tmp_path / f"labels.{kind}", ROWS, "file name", "class")
    assert read_labels(place, "file name", "class") == dict(ROWS)
    for path_column, label_column, words in (("path", "class", "'path'"), ("file name", "label", "'label'")):
        with pytest.raises(SourceError, match=rf"no column {words}; it has: .*(file name.*class|class.*file name)"):
            read_labels(place, path_column, label_column)


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_two_labels_for_one_file_are_refused_and_the_same_twice_is_not(tmp_path, kind):
    twice = [("a.png", "1"), ("./a.png", "1")]
    assert read_labels(write_table(tmp_path / f"same.{kind}", twice)) == {"a.png": "1"}
    with pytest.raises(SourceError, match=r"different\..*, (line|row) \d: a\.png has two labels, '1' and '2'"):
        read_labels(write_table(tmp_path / f"different.{kind}", [("a.png", "1"), ("./a.png", "2")]))


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_tables_are_read_from_afar(tmp_path, kind):
    local, place = write_table(tmp_path / f"labels.{kind}", ROWS), f"memory://{uuid.uuid4().hex}.{kind}"
    fsspec.filesystem("memory").pipe(place, (tmp_path / f"labels.{kind}").read_bytes())
    assert read_labels(place) == read_labels(local)
    fsspec.filesystem("memory").rm(place)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.text(st.characters(codec="utf-8"))
    )
)
def test_any_text_survives_csv(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("any") / "labels.csv"
    table = {f"n/{k}".replace("/", "").replace("\\", "") + ".png": v.strip() for k, v in table.items()}
    assert read_labels(write_table(path, list(table.items()))) == table


def test_byte_order_marks_spaces_and_rows_of_commas_are_no_data(tmp_path):
    (tmp_path / "l.csv").write_bytes("\ufeffpath , label,\r\na.png, cat ,\r\n\r\n,,\r\nb.png\r\n".encode())
    assert read_labels(str(tmp_path / "l.csv")) == {"a.png": "cat", "b.png": ""}
    (tmp_path / "l.jsonl").write_bytes('\ufeff{"path": "a", "label": 1}\r\n\r\n{"path": "b"}'.encode())
    assert read_labels(str(tmp_path / "l.jsonl")) == {"a": "1", "b": ""}


def test_numbers_are_labels_whatever_type_they_have(tmp_path):
    lines = [
        f'{{"path": "{n}", "label": {text}}}'
        for n, text in enumerate(["3", "3.0", '"3"', "0.5", "true", "null", "NaN"])
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(lines))
    assert list(read_labels(str(tmp_path / "l.jsonl")).values()) == ["3", "3", "3", "0.5", "true", "", ""]
    columns = {
        "path": pa.array([b"a", b"b", b"c"]),
        "int": pa.array([1, None, 3]),
        "float": pa.array([1.0, None, float("nan")]),
        "dict": pa.array(["x", None, "x"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "l.parquet")
    for column, labels in {"int": ["1", "", "3"], "float": ["1", "", ""], "dict": ["x", "", "x"]}.items():
        assert read_labels(str(tmp_path / "l.parquet"), label_column=column) == dict(zip("abc", labels, strict=True))


def test_paths_below_the_folder_become_relative(tmp_path):
    rows = [("/data/in/a/1.png", "x"), ("b\\2.png", "x"), ("./c//3.png", "x"), ("/data/4.png", "x")]
    place = write_table(tmp_path / "l.csv", rows)
    assert list(read_labels(place, roots=("/data/in/",))) == ["a/1.png", "b/2.png", "c/3.png", "/data/4.png"]


def test_names_that_are_no_utf8_can_be_labelled_but_labels_are_text(tmp_path):
    (tmp_path / "l.csv").write_bytes(b"path,label\n\xff.png,cat\n")
    assert read_labels(str(tmp_path / "l.csv")) == {"\udcff.png": "cat"}
    (tmp_path / "l.csv").write_bytes(b"path,label\na.png,caf\xe9\n")
    with pytest.raises(SourceError, match=r"line 2: the label caf\\xe9 is not UTF-8"):
        read_labels(str(tmp_path / "l.csv"))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("l.txt", b"", r"end in \.csv"),
        ("l", b"", r"end in \.csv"),
        ("l.csv", b"", "it has: none"),
        ("l.csv", b"path;label\na;b\n", "no column 'path'; it has: path;label"),
        ("l.csv", b"path,label\na,b,c\n", "line 2: 3 fields under 2 columns"),
        ("l.csv", b'path,label\n"a,b\n', "line 2: unexpected end of data"),
        ("l.csv", b"path,label\n,b\n", "line 2: path must be the path of a file"),
        ("l.jsonl", b'{"path": "a", "label": 1}\n{"path"\n', "line 2: not JSON"),
        ("l.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("l.jsonl", b"[1]", "line 1: not a JSON object"),
        ("l.jsonl", b'{"path": 7, "label": 1}', "line 1: path must be the path of a file, not 7"),
        ("l.jsonl", b'{"path": "a", "label": [1]}', "line 1: a label is text or an integer"),
        ("l.jsonl", b'{"path": "a"}', "no column 'label'; it has: path"),
        ("l.jsonl", b"", "no column 'label'; it has: none"),
        ("l.parquet", b"PAR1 but not really", "is not a readable Parquet file"),
    ],
)
def test_tables_that_cannot_be_used_say_what_is_wrong(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=words):
        read_labels(str(tmp_path / name))


@given(st.sampled_from(TABLE_KINDS), st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_error_of_usage(tmp_path_factory, kind, data):
    path = tmp_path_factory.mktemp("bytes") / f"l.{kind}"
    path.write_bytes(b"path,label\n" + data if kind == "csv" else data)
    with contextlib.suppress(SourceError):  # any other exception fails the test
        assert isinstance(read_labels(str(path)), dict)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"there is no file .*none\.csv"):
        read_labels(str(tmp_path / "none.csv"))


def test_classes_are_in_the_order_of_numbers_or_of_text():
    assert class_order({"10", "9", "-1", "09"}) == ["-1", "09", "9", "10"]
    assert class_order({"10", "9", "x"}) == ["10", "9", "x"]
    assert class_order({"1" * 5000, "2"}) == ["1" * 5000, "2"]
