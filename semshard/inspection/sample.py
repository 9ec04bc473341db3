"""One sample: its picture, label and description against its row of the parquet file and the manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ShardError
from ..shards import Shards, damage, decode_picture, description
from .failure import Fail
from .parquet import Row

_ABOUT = {"class", "width", "height", "linf", "sha256"}
_FLAT_FROM = 64  # pixels from which a picture with noise in it has more than one colour


@dataclass(frozen=True)
class ReadSample:
    """What could be read of a sample."""

    picture: NDArray[np.uint8] | None = None  # (H, W, 3) RGB
    sha256: bytes = b""  # of its pixels
    label: int = -1


def read_sample(shards: Shards, parts: dict[str, bytes], row: Row | None, fail: Fail) -> ReadSample:
    """Check one sample against its parquet row and the manifest."""
    fields, picture, sha256 = shards.fields, None, b""
    try:
        with damage("the picture"):
            picture = decode_picture(parts[fields.image], fields.format, fields.keep)
            sha256 = hashlib.sha256(picture.data).digest()
        with damage(f".cls or .{fields.about}"):
            label = _read_label(parts, fail)
            _check_about(shards, parts[fields.about], picture, sha256.hex(), label, row, fail)
            return ReadSample(picture, sha256, label)
    except ShardError as error:
        fail(str(error))
    return ReadSample(picture, sha256)


def _read_label(parts: dict[str, bytes], fail: Fail) -> int:
    label = int(parts["cls"])
    if parts["cls"] != b"%d" % label:
        fail(".cls is not written as semshard writes it")
    return label


def _check_about(
    shards: Shards,
    written: bytes,
    picture: NDArray[np.uint8],
    sha256: str,
    label: int,
    row: Row | None,
    fail: Fail,
) -> None:
    about = json.loads(written)
    if not isinstance(about, dict) or set(about) != _ABOUT:
        fail(f".json has other fields than {', '.join(sorted(_ABOUT))}")
        return
    if written != description(about["class"], *(about[name] for name in ("width", "height", "linf", "sha256"))):
        fail(".json is not written as semshard writes it")
    if not 0 <= label < len(shards.classes) or about["class"] != shards.classes[label]:
        fail(f"label {label} and class {about['class']!r} are not those of the manifest")
    if (about["height"], about["width"]) != picture.shape[:2] or shards.size not in (None, picture.shape[:2]):
        fail(f"is {picture.shape[1]} × {picture.shape[0]} pixels, not what .json or the manifest says")
    if about["sha256"] != sha256:
        fail("the pixels have another SHA-256 than .json says")
    if shards.lossless and about["linf"] > shards.budget:
        fail(f"its noise of {about['linf']}/255 is above the budget of {shards.budget}/255")
    if about["linf"] == 0:
        fail("says that it carries no noise")
    if is_flat(picture, shards):
        fail(f"is of one colour only: {tuple(picture[0, 0].tolist())}")
    if row is None:
        fail("is not in the parquet file")
    elif row != (label, about["class"], about["width"], about["height"], about["linf"], about["sha256"]):
        fail("the parquet row differs from .cls and .json")


def is_flat(picture: NDArray[np.uint8], shards: Shards) -> bool:
    """Whether a picture is of one colour though it is large enough for noise to show; shortcut noise is itself flat
    within a patch.
    """
    patch = shards.manifest["settings"].get("patch", 1)
    flat = picture.reshape(-1, 3)
    if flat[0].tobytes() != flat[-1].tobytes():
        return False
    return len(flat) >= _FLAT_FROM * patch**2 and bool((flat == flat[0]).all())
