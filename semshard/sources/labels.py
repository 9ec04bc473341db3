"""Labels from a table that names a class for each file: CSV, TSV, JSON Lines or Parquet, local or remote."""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import BinaryIO

from ..errors import SourceError
from .files import below, local_path, open_file, printable

KINDS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_SHOWN = 20  # columns in an error message
Row = tuple[str, object, object]  # line or row, path, label


def read_labels(
    place: str, path_column: str = "path", label_column: str = "label", roots: tuple[str, ...] = ()
) -> dict[str, str]:
    """Class texts by file name; an empty text is a row whose label is empty.

    Names are relative with forward slashes, as in `Files.names`: what lies below one of `roots` is made so.
    Raises `SourceError` where the table cannot be read, lacks a column, or gives one file two labels.
    """
    labels: dict[str, str] = {}
    texts: dict[str, str] = {}  # one object for each class, however many rows name it
    with open_file(place) as file, closing(_rows(file, place, path_column, label_column)) as rows:
        for where, path, label in rows:
            if not isinstance(path, str) or not path:
                raise SourceError(f"{place}, {where}: {path_column} must be the path of a file, not {path!r}")
            name = below(path, roots)
            text = _text(label, f"{place}, {where}")
            text = texts.setdefault(text, text)
            if labels.setdefault(name, text) != text:
                both = f"{labels[name]!r} and {text!r}"
                raise SourceError(f"{place}, {where}: {printable(name)} has two labels, {both}; keep one")
    return labels


def class_order(texts: Iterable[str]) -> list[str]:
    """By number where all are integers, else by the text."""
    texts = list(texts)
    if all(_INTEGER.fullmatch(text) for text in texts):
        return sorted(texts, key=lambda text: (int(text), text))
    return sorted(texts)


def _rows(file: BinaryIO, place: str, path_column: str, label_column: str) -> Generator[Row, None, None]:
    name = place if local_path(place) is not None else place.split("?")[0]
    kind = posixpath.splitext(name)[1].lower()
    if kind not in KINDS:
        raise SourceError(f"{place}: labels are read from files that end in {', '.join(KINDS)}")
    try:
        if kind == ".parquet":
            yield from _parquet(file, place, path_column, label_column)
        elif kind in (".csv", ".tsv"):
            with _lines(file) as lines:
                yield from _table(lines, place, path_column, label_column, "\t" if kind == ".tsv" else ",")
        else:
            with _lines(file) as lines:
                yield from _json_lines(lines, place, path_column, label_column)
    except OSError as error:
        raise SourceError(f"{place} cannot be read: {error}") from error


def _lines(file: BinaryIO) -> io.TextIOWrapper:
    """Bytes that are not UTF-8 survive, as file names may hold them; a byte-order mark is dropped."""
    return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")


def _table(lines: Iterable[str], place: str, path_column: str, label_column: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        path, label = _need(columns, place, path_column), _need(columns, place, label_column)
        for row in reader:
            where = f"line {reader.line_num}"
            if any(row[len(columns) :]):
                raise SourceError(f"{place}, {where}: {len(row)} fields under {len(columns)} columns; quote the commas")
            if any(row):  # spreadsheets leave rows of commas behind
                yield where, row[path] if path < len(row) else "", row[label] if label < len(row) else ""
    except csv.Error as error:
        raise SourceError(f"{place}, line {reader.line_num}: {error}") from error


def _json_lines(lines: Iterable[str], place: str, path_column: str, label_column: str) -> Iterator[Row]:
    columns: dict[str, None] = {}  # in the order of the file
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{place}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise SourceError(f"{place}, line {number}: not a JSON object")
        columns.update(dict.fromkeys(row))
        _need(list(row), f"{place}, line {number}", path_column)
        yield f"line {number}", row[path_column], row.get(label_column)
    _need(list(columns), place, label_column)


def _parquet(file: BinaryIO, place: str, path_column: str, label_column: str) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        columns = list(table.schema_arrow.names)
        for name in (path_column, label_column):
            _need(columns, place, name)
        number = 0
        for batch in table.iter_batches(16384, columns=[path_column, label_column]):
            paths, labels = (map(_plain, batch.column(name).to_pylist()) for name in (path_column, label_column))
            for path, label in zip(paths, labels, strict=True):
                number += 1
                yield f"row {number}", path, label
    except pyarrow.ArrowException as error:
        raise SourceError(f"{place} is not a readable Parquet file: {error}") from error


def _plain(value: object) -> object:
    """Some writers store text as bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _need(columns: list[str], place: str, name: str) -> int:
    if name not in columns:
        known = ", ".join(printable(column) for column in columns[:_SHOWN]) or "none"
        known += ", …" if len(columns) > _SHOWN else ""
        raise SourceError(f"{place} has no column {name!r}; it has: {known} (--path-column and --label-column choose)")
    return columns.index(name)


def _text(label: object, where: str) -> str:
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return ""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():  # data frames give integers as floats where some are missing
        return str(int(label))
    if not isinstance(label, (str, int, float)):
        raise SourceError(f"{where}: a label is text or an integer, not {str(label)[:50]}")
    text = str(label).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise SourceError(f"{where}: the label {printable(text)} is not UTF-8; save the table as UTF-8") from None
    return text
