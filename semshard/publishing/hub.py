"""The header of README.md that the Hugging Face Hub and `datasets.load_dataset` read: YAML between two lines of dashes.

https://github.com/huggingface/hub-docs/blob/main/datasetcard.md. Without `configs`, datasets takes manifest.json and
the stats files for the data. Features are named because it would otherwise guess them from the first samples of a tar,
which need not have every field that others carry, and because class names belong to them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..shards import Fields
from .statement import Statement

TAGS = ("webdataset", "unlearnable-examples", "semshard")
_ABOUT = {"class": "string", "width": "int32", "height": "int32", "linf": "int32", "sha256": "string"}
_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
# What datasets makes of a field of the source, by the last part of its extension; other fields stay bytes.
_DECODED = {
    **dict.fromkeys(("txt", "text", "transcript"), "string"),
    **dict.fromkeys(("cls", "cls2", "index", "inx", "id"), "int64"),
    **dict.fromkeys(("json", "jsn"), "json"),
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm"), "image"),
    **dict.fromkeys(("wav", "mp3", "flac", "ogg", "opus"), "audio"),
}
_UNKNOWN = {"ten", "tb", "mp", "msg", "npy", "npz", "cbor", "pth"}  # arrays and trees, whose type only a value shows
_COMPRESSED = {"gz", "bz2", "xz", "zst", "lz4"}


def header(manifest: Mapping[str, Any], title: str, statement: Statement) -> str:
    """The lines of the header, with those of dashes."""
    count = manifest["counts"]["samples"]
    lines = [f"pretty_name: {quoted(title)}", *_licence(statement)]
    task = "image-classification" if manifest["labels"]["from"] == "source" else "other"
    for name, values in (("task_categories", (task,)), ("size_categories", (size_category(count),)), ("tags", TAGS)):
        lines += [f"{name}:", *(f"- {value}" for value in values)]
    lines += ["configs:", "- config_name: default", '  data_files: "*.tar"']
    features = list(_features(Fields.of(manifest), manifest["classes"]))
    if not any(_last(extension) in _UNKNOWN for extension in manifest["fields"]["carried"]):
        lines += ["dataset_info:", "  features:", *(f"  {line}" for line in features)]
    return "\n".join(["---", *lines, "---"])


def size_category(samples: int) -> str:
    """The Hub's word for a number of samples."""
    above = [name for power, name in enumerate(_SIZES) if samples >= 10 ** (power + 3)]
    if not above:
        return f"n<{_SIZES[0]}"
    return f"{above[-1]}<n<{_SIZES[len(above)]}" if len(above) < len(_SIZES) else f"n>{_SIZES[-1]}"


def quoted(text: str) -> str:
    """A text as a YAML scalar in double quotes: JSON's, with escapes for what YAML does not allow in a file."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in plain)


def _licence(statement: Statement) -> Iterator[str]:
    if statement.licence_on_hub:
        yield f"license: {statement.licence_on_hub}"
    elif statement.licence:
        name = "terms" if statement.licence == statement.licence_url else statement.licence.lower()
        yield "license: other"
        yield f"license_name: {quoted(name)}"
        if statement.licence_url:
            yield f"license_link: {quoted(statement.licence_url)}"


def _features(fields: Fields, classes: list[str]) -> Iterator[str]:
    """The columns that datasets makes of a sample."""
    yield from _column(fields.image, "dtype: image")
    yield from _column("cls", "dtype:", "  class_label:", "    names:")
    yield from (f"        '{number}': {quoted(name)}" for number, name in enumerate(classes))
    about = [line for name, kind in _ABOUT.items() for line in (f"- name: {name}", f"  dtype: {kind}")]
    yield from _column(fields.about, "struct:", *about)
    for extension in fields.carried:
        yield from _column(extension, f"dtype: {_DECODED.get(_last(extension), 'binary')}")
    for name in ("__key__", "__url__"):
        yield from _column(name, "dtype: string")


def _column(name: str, *lines: str) -> list[str]:
    return [f"- name: {quoted(name)}", *(f"  {line}" for line in lines)]


def _last(extension: str) -> str:
    """The part of an extension that decides how its bytes are read: of txt.gz the txt."""
    parts = extension.lower().split(".")
    return parts[-2] if len(parts) > 1 and parts[-1] in _COMPRESSED else parts[-1]
