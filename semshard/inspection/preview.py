"""A picture of a few samples: clean | noise, amplified | protected, a row per sample."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..atomic import atomic_write
from ..errors import OutputError, ShardError
from ..shards import Sample, Shards, open_shards
from ..storage import local_path
from .originals import Originals, find_originals

_TILE, _GAP, _MARGIN, _HEAD = 160, 8, 20, 46  # pixels
_INK, _PAPER, _FAINT = "#1d2129", "#ffffff", "#6b7280"

Row = tuple[str, NDArray[np.uint8] | None, NDArray[np.uint8]]  # class name, clean, protected


def preview(
    shards: str | Path,
    out: str | Path,
    *,
    samples: int = 12,
    clean: str | Path | None = None,
    ledger: str | Path | None = None,
) -> Path:
    """Write a PNG of a few samples of `shards`, a folder or s3://…, spread evenly over them; returns its path.

    Clean and noise are shown where the `ledger` or the source `clean` gives the originals. Such a picture contains
    clean pixels: keep it private. Raises `OutputError` where `out` lies in the shards, `ShardError` where they have no
    sample, `SourceError`, `LedgerError`, and what `open_shards` raises.
    """
    out = local_path(out, "out")
    opened = open_shards(shards, ledger=ledger)
    if out.resolve().is_relative_to(opened.directory.resolve()):
        raise OutputError(f"{out} lies in the folder of the shards, which is published; choose a place outside of it")
    if not len(opened):
        raise ShardError(f"{opened.directory} holds no sample")
    rows = preview_rows(opened, samples, find_originals(opened, clean))
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as file:
        file.write(grid_png(rows, opened.budget))
    return out


def preview_rows(shards: Shards, samples: int, originals: Originals | None) -> list[Row]:
    """A few samples and, where they are known, their originals; from as many classes as possible."""
    chosen = _spread(shards, samples)
    clean: dict[str, NDArray[np.uint8]] = {}
    if originals:
        pixels, keys, _ = originals.pictures([sample.key for sample in chosen])
        clean = dict(zip(keys, pixels, strict=True))
    return [(shards.classes[sample.label], clean.get(sample.key), sample.image) for sample in chosen]


def _spread(shards: Shards, samples: int) -> list[Sample]:
    """The first sample of each class, then the next of each, until there are enough."""
    by_class: dict[int, list[Sample]] = {}
    for sample in (shards[number] for number in range(min(len(shards), 50 * samples))):
        by_class.setdefault(sample.label, []).append(sample)
    rounds = [group[turn] for turn in range(samples) for _, group in sorted(by_class.items()) if turn < len(group)]
    return rounds[:samples]


def grid_png(rows: list[Row], budget: int) -> bytes:
    """The rows as a PNG: two blocks of clean | noise amplified | protected where originals are there."""
    amplify = 127 / budget
    with_clean = any(clean is not None for _, clean, _ in rows)
    heads = ["clean", f"noise × {amplify:.0f}", "protected"] if with_clean else ["protected"]
    blocks = 2 if with_clean else 6
    blocks = min(blocks, len(rows))
    lines = -(-len(rows) // blocks)
    block_width = len(heads) * (_TILE + _GAP) + _MARGIN
    width, height = _MARGIN + blocks * block_width, _HEAD + lines * (_TILE + 26) + _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    title, label = _font(17), _font(13)
    for block in range(blocks):
        for column, head in enumerate(heads):
            pen.text((_MARGIN + block * block_width + column * (_TILE + _GAP), 16), head, _INK, title)
    for number, (name, clean, protected) in enumerate(rows):
        left, top = _MARGIN + number % blocks * block_width, _HEAD + number // blocks * (_TILE + 26)
        tiles: list[NDArray[np.uint8] | None] = [protected]
        if with_clean:
            noise = None if clean is None else protected.astype(np.int16) - clean
            shown = None if noise is None else np.clip(128 + noise * amplify, 0, 255).astype(np.uint8)
            tiles = [clean, shown, protected]
        for column, tile in enumerate(tiles):
            at = (left + column * (_TILE + _GAP), top)
            if tile is None:
                pen.rectangle((*at, at[0] + _TILE - 1, at[1] + _TILE - 1), outline=_FAINT)
            else:
                sheet.paste(_tile(tile), at)
        pen.text((left, top + _TILE + 3), name[:60], _FAINT, label)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: it has ×, and the letters of most scripts."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def _tile(pixels: NDArray[np.uint8]) -> Image.Image:
    """A square tile: a small image enlarged so that its pixels can be seen, a large one shrunk; centred on grey."""
    image = Image.fromarray(pixels)
    scale = _TILE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (_TILE, _TILE), "#e5e7eb")
    tile.paste(image, ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile
