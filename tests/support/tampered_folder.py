"""A finished folder of shards that can be tampered with, made to fit again, and restored."""

import io
import json
import math
import shutil
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from semshard.inspection.originals import find_originals
from semshard.shards import (
    Ledger,
    decode_picture,
    description,
    encode_pictures,
    ledger_path,
    manifest_bytes,
    open_shards,
    read_tar,
    stats_bytes,
    tar,
)
from semshard.shards.writer import COLUMNS


class Folder:
    """A public folder with its ledger, which can be tampered with and restored."""

    def __init__(self, path):
        self.path, self.ledger = Path(path), Ledger(ledger_path(path))
        self.files = {each.name: each.read_bytes() for each in self.path.iterdir()}
        self.stems = sorted({name[:5] for name in self.files if name[0].isdigit()})
        self._published = (self.ledger.path / "published.json").read_bytes()
        shards = open_shards(path)
        originals = find_originals(shards, None)
        self.clean = {key: originals.pixels(key) for key in shards.keys()}  # noqa: SIM118 — a method, no mapping
        self.classes = shards.classes

    def restore(self):
        for each in self.path.iterdir():
            if each.name not in self.files:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        for name, data in self.files.items():
            path = self.path / name
            if path.is_symlink() or not path.is_file() or path.read_bytes() != data:
                path.unlink(missing_ok=True)
                path.write_bytes(data)
        (self.ledger.path / "published.json").write_bytes(self._published)

    def is_untouched(self):
        now = {each.name: each if each.is_file() and not each.is_symlink() else None for each in self.path.iterdir()}
        return now.keys() == self.files.keys() and all(
            path is not None and path.read_bytes() == self.files[name] for name, path in now.items()
        )

    def manifest(self):
        return json.loads((self.path / "manifest.json").read_bytes())

    def write_manifest(self, manifest, vouched=False):
        (self.path / "manifest.json").write_bytes(manifest_bytes(manifest))
        if vouched:
            self.ledger.write_published(sha256(manifest_bytes(manifest)).hexdigest())

    def samples(self, stem):
        """The samples of a shard: key → its fields, in order."""
        found = {}
        for header, data in read_tar(self.path / f"{stem}.tar"):
            key, _, extension = header.name.partition(".")
            found.setdefault(key, {})[extension] = data
        return found

    def write(self, stem, samples):
        """A shard of those samples, with everything that follows from them: parquet, stats, but not the manifest."""
        packed = b"".join(
            tar.entry(f"{key}.{each}", data) for key, parts in samples.items() for each, data in parts.items()
        )
        packed += tar.end(len(packed))
        (self.path / f"{stem}.tar").write_bytes(packed)
        rows = [{"key": key, "label": int(parts["cls"]), **json.loads(parts["json"])} for key, parts in samples.items()]
        self.write_rows(stem, pa.Table.from_pylist(rows, COLUMNS))

    def write_rows(self, stem, table):
        out = io.BytesIO()
        pq.write_table(table, out)
        (self.path / f"{stem}.parquet").write_bytes(out.getvalue())

    def psnr_mean(self, stem):
        """Of a shard, as a tamperer knows it who has the originals."""
        found = []
        for key, parts in self.samples(stem).items():
            clean, pixels = self.clean.get(key), pixels_of(parts)
            if clean is not None and clean.shape == pixels.shape and (clean != pixels).any():
                errors = cv2.norm(clean, pixels, cv2.NORM_L2SQR) / clean.size
                found.append(10 * math.log10(255**2 / errors))
        return round(sum(found) / len(found), 4) if found else 0.0

    def reseal(self, vouched):
        """Make manifest and stats fit the tars and parquet files; `vouched`: the ledger records that manifest, too."""
        manifest = self.manifest()
        for number, stem in enumerate(self.stems):
            old = done_stats_of(self.files, stem)
            packed, table = ((self.path / f"{stem}{end}").read_bytes() for end in (".tar", ".parquet"))
            linf = pq.read_table(io.BytesIO(table)).column("linf").to_pylist()
            stats = replace(
                old, samples=len(linf), linf_max=max(linf, default=0), psnr_mean=self.psnr_mean(stem),
                bytes=len(packed), sha256=sha256(packed).hexdigest(),
                parquet_bytes=len(table), parquet_sha256=sha256(table).hexdigest(),
            )  # fmt: skip
            (self.path / f"{stem}_stats.json").write_bytes(stats_bytes(stats))
            entry = {name: value for name, value in asdict(stats).items() if name not in ("shard", "rejected")}
            manifest["shards"][number] = {"name": f"{stem}.tar", **entry}
        total = sum(each["samples"] for each in manifest["shards"])
        means = sum(each["psnr_mean"] * each["samples"] for each in manifest["shards"])
        manifest["noise"] = {
            "linf_max": max(each["linf_max"] for each in manifest["shards"]), "psnr_mean": round(means / total, 4),
        }  # fmt: skip
        counts = manifest["counts"]
        manifest["counts"] = counts | {"samples": total, "inputs": total + counts["rejected"]}
        self.write_manifest(manifest, vouched)


def done_stats_of(files, stem):
    from semshard.shards import ShardStats

    return ShardStats(**json.loads(files[f"{stem}_stats.json"]))


def with_picture(parts, pixels, clean=None):
    """A sample with other pixels, and a description that fits them."""
    about = json.loads(parts["json"])
    linf = about["linf"]
    if clean is not None and clean.shape == pixels.shape:
        linf = int(cv2.norm(clean, pixels, cv2.NORM_INF))
    text = description(about["class"], pixels.shape[1], pixels.shape[0], linf, sha256(pixels.tobytes()).hexdigest())
    return {"cls": parts["cls"], "json": text, "png": encode_pictures(pixels[None])[0]}


def pixels_of(parts):
    return decode_picture(parts["png"])
