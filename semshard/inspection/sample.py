"""One sample: its picture, label and description against its row of the parquet file and the manifest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ShardError
from ..shards import Shards, decode_picture
from .failure import Fail

_ABOUT = {"class", "width", "height", "linf", "sha256"}


def audit_sample(
    shards: Shards, parts: dict[str, bytes], row: dict[str, Any] | None, fail: Fail
) -> NDArray[np.uint8] | None:
    """Check one sample against its parquet row and the manifest; its pixels, or None where they cannot be decoded."""
    fields = shards.fields
    try:
        picture = decode_picture(parts[fields.image], fields.format, fields.keep)
    except ShardError as error:
        fail(str(error))
        return None
    try:
        label, about = int(parts["cls"]), json.loads(parts[fields.about])
    except ValueError:
        fail(f".cls or .{fields.about} cannot be read")
        return None
    if not isinstance(about, dict) or set(about) != _ABOUT:
        fail(f".json has other fields than {', '.join(sorted(_ABOUT))}")
        return picture
    if not 0 <= label < len(shards.classes) or about["class"] != shards.classes[label]:
        fail(f"label {label} and class {about['class']!r} are not those of the manifest")
    if (about["height"], about["width"]) != picture.shape[:2] or shards.size not in (None, picture.shape[:2]):
        fail(f"is {picture.shape[1]} × {picture.shape[0]} pixels, not what .json or the manifest says")
    if about["sha256"] != hashlib.sha256(picture.tobytes()).hexdigest():
        fail("the pixels have another SHA-256 than .json says")
    if shards.lossless and about["linf"] > shards.budget:
        fail(f"its noise of {about['linf']}/255 is above the budget of {shards.budget}/255")
    if row is None:
        fail("is not in the parquet file")
    elif {name: row[name] for name in row if name not in ("key", "label")} != about or row["label"] != label:
        fail("the parquet row differs from .cls and .json")
    return picture
