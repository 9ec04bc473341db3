"""Ways to tamper with a finished folder of shards, each by random numbers: what audit has to find."""

import io
import json
import os
import random
import shutil
import tarfile
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from semshard.shards import (
    description,
    read_tar,
    tar,
)
from tests.support.tampered_folder import pixels_of, with_picture


def flip(path, random, places=None):
    data = bytearray(path.read_bytes())
    at = random.choice(places(data)) if places else random.randrange(len(data))
    data[at] ^= 1 << random.randrange(8)
    path.write_bytes(data)


# --- files --------------------------------------------------------------------------------------------------------


def flip_any_file(folder, random):
    flip(folder.path / random.choice(sorted(folder.files)), random)


def flip_manifest(folder, random):
    flip(folder.path / "manifest.json", random)


def flip_stats(folder, random):
    flip(folder.path / f"{random.choice(folder.stems)}_stats.json", random)


def flip_parquet(folder, random):
    flip(folder.path / f"{random.choice(folder.stems)}.parquet", random)


def flip_tar_padding(folder, random):
    flip(
        folder.path / f"{random.choice(folder.stems)}.tar",
        random,
        lambda data: [at for at in range(0, len(data), 97) if not any(data[at : at + 8])],
    )


def drop_file(folder, random):
    (folder.path / random.choice(sorted(folder.files.keys() - {"manifest.json"}))).unlink()


def truncate_file(folder, random):
    path = folder.path / random.choice(sorted(folder.files))
    path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size)])


def append_to_file(folder, random):
    path = folder.path / random.choice(sorted(folder.files))
    path.write_bytes(path.read_bytes() + random.choice([b"\0", b"\n", bytes(512), b"more"]))


def swap_files(folder, random):
    end = random.choice([".tar", ".parquet", "_stats.json"])
    a, b = (folder.path / f"{stem}{end}" for stem in random.sample(folder.stems, 2))
    a_data, b_data = a.read_bytes(), b.read_bytes()
    a.write_bytes(b_data)
    b.write_bytes(a_data)


def copy_file(folder, random):
    name = random.choice(sorted(folder.files))
    other = random.choice([f"{name}.bak", f"00009{name[5:]}", f".{name}"])
    shutil.copy(folder.path / name, folder.path / other)


def rename_file(folder, random):
    name = random.choice(sorted(folder.files.keys() - {"manifest.json"}))
    (folder.path / name).rename(folder.path / random.choice([name.upper(), f"1{name[1:]}", f"{name}.old"]))


def new_file(folder, random):
    name = random.choice(
        ["README.md", "LICENSE", ".DS_Store", "clean.png", "a\nb", b"\xff\xfe".decode("utf-8", "surrogateescape")]
    )
    if random.random() < 0.3:
        (folder.path / "more").mkdir()
        name = f"more/{name}"
    (folder.path / name).write_bytes(b"x" * random.randrange(9))


def file_is_a_link(folder, random):
    path = folder.path / random.choice(sorted(folder.files.keys() - {"manifest.json"}))
    away = folder.path.parent / "elsewhere"
    away.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(away) if random.random() < 0.5 else os.mkfifo(path)


# --- entries of a tar ---------------------------------------------------------------------------------------------


def repack_tar(folder, random):
    """The same entries, packed by another program."""
    path = folder.path / f"{random.choice(folder.stems)}.tar"
    entries = list(read_tar(path))
    how = random.choice(["pax", "gnu", "mtime", "order", "short end"])
    form = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}.get(how, tarfile.USTAR_FORMAT)
    if how == "order":
        random.shuffle(entries)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as new:
        for header, data in entries:
            if how == "mtime":
                header.mtime = random.choice([1, 1_700_000_000])
            if how == "pax":
                header.pax_headers = {"comment": "x"}
            new.addfile(header, io.BytesIO(data))
    data = out.getvalue()
    path.write_bytes(data[:-512] if how == "short end" else data)


def repack_tar_resealed(folder, random):
    repack_tar(folder, random)
    folder.reseal(random.random() < 0.5)


def edit(folder, random, change):
    """Change the samples of one shard in its tar only."""
    stem = random.choice(folder.stems)
    samples, table = folder.samples(stem), (folder.path / f"{stem}.parquet").read_bytes()
    folder.write(stem, change(samples, random.choice(sorted(samples))))
    (folder.path / f"{stem}.parquet").write_bytes(table)


def drop_sample(folder, random):
    edit(folder, random, lambda samples, key: {each: parts for each, parts in samples.items() if each != key})


def drop_field(folder, random):
    stem = random.choice(folder.stems)
    rows = (folder.path / f"{stem}.parquet").read_bytes()
    samples = folder.samples(stem)
    name = random.choice(["cls", "json", "png"])
    key = random.choice(sorted(samples))
    entries = [(f"{k}.{e}", d) for k, parts in samples.items() for e, d in parts.items() if (k, e) != (key, name)]
    packed = b"".join(tar.entry(*entry) for entry in entries)
    (folder.path / f"{stem}.tar").write_bytes(packed + tar.end(len(packed)))
    (folder.path / f"{stem}.parquet").write_bytes(rows)


def rename_sample(folder, random):
    def renamed(samples, key):
        other = random.choice([f"{key[:5]}{random.randrange(90000, 99999)}", "0000900001"])
        return {other if each == key else each: parts for each, parts in samples.items()}

    edit(folder, random, renamed)


def swap_fields(folder, random):
    """Two samples exchange their picture, label or description."""

    def swapped(samples, key):
        other, name = random.choice(sorted(samples.keys() - {key})), random.choice(["png", "cls", "json"])
        a, b = samples[key], samples[other]
        return samples | {key: a | {name: b[name]}, other: b | {name: a[name]}}

    edit(folder, random, swapped)


# --- everything made to fit again: hashes, parquet, stats, manifest, at times the ledger's record --------------------


def resealed(change):
    """Change the samples of one shard, and make everything else fit."""

    def tamper(folder, random):
        stem = random.choice(folder.stems)
        samples = folder.samples(stem)
        folder.write(stem, change(folder, random, samples, random.choice(sorted(samples))))
        folder.reseal(random.random() < 0.5)

    tamper.__name__ = change.__name__
    return tamper


@resealed
def wrong_class_resealed(folder, random, samples, key):
    parts, about = samples[key], json.loads(samples[key]["json"])
    label = (int(parts["cls"]) + random.randrange(1, len(folder.classes))) % len(folder.classes)
    rest = (about[name] for name in ("width", "height", "linf", "sha256"))
    return samples | {key: parts | {"cls": b"%d" % label, "json": description(folder.classes[label], *rest)}}


@resealed
def wrong_size_resealed(folder, random, samples, key):
    pixels = pixels_of(samples[key])
    return samples | {key: with_picture(samples[key], np.ascontiguousarray(pixels[: random.randrange(1, len(pixels))]))}


@resealed
def one_colour_resealed(folder, random, samples, key):
    pixels = np.full_like(pixels_of(samples[key]), random.choice([0, 255, 128, 7]))
    return samples | {key: with_picture(samples[key], pixels)}


@resealed
def copied_picture_resealed(folder, random, samples, key):
    other = random.choice(sorted(samples.keys() - {key}))
    return samples | {key: with_picture(samples[key], pixels_of(samples[other]))}


@resealed
def clean_original_resealed(folder, random, samples, key):
    measured_against = folder.clean[key] if random.random() < 0.5 else None
    return samples | {key: with_picture(samples[key], folder.clean[key], measured_against)}


@resealed
def noise_of_another_resealed(folder, random, samples, key):
    other = random.choice(sorted(samples.keys() - {key}))
    noise = pixels_of(samples[other]).astype(np.int16) - folder.clean[other]
    return samples | {key: with_noise(samples[key], folder.clean[key], noise)}


@resealed
def drop_sample_resealed(folder, random, samples, key):
    return {each: parts for each, parts in samples.items() if each != key}


@resealed
def too_much_noise_resealed(folder, random, samples, key):
    noise = np.full(folder.clean[key].shape, random.choice([9, -9, 40]), np.int16)
    return samples | {key: with_noise(samples[key], folder.clean[key], noise)}


@resealed
def swapped_pictures_resealed(folder, random, samples, key):
    other = random.choice(sorted(samples.keys() - {key}))
    a, b = samples[key], samples[other]
    return samples | {key: with_picture(a, pixels_of(b)), other: with_picture(b, pixels_of(a))}


@resealed
def json_reformatted_resealed(folder, random, samples, key):
    about = json.loads(samples[key]["json"])
    text = random.choice([json.dumps(about), json.dumps(about, indent=1), json.dumps(about, sort_keys=True)])
    return samples | {key: samples[key] | {"json": text.encode()}}


def with_noise(parts, clean, noise):
    pixels = np.clip(clean + noise, 0, 255).astype(np.uint8)
    return with_picture(parts, pixels, clean)


def noise_of_a_class_resealed(folder, random):
    """Every sample of a class gets the noise of the first."""
    chosen = random.choice(folder.classes)
    noise = None
    for stem in folder.stems:
        samples = folder.samples(stem)
        for key, parts in samples.items():
            if json.loads(parts["json"])["class"] == chosen:
                own = pixels_of(parts).astype(np.int16) - folder.clean[key]
                noise = own if noise is None else noise
                samples[key] = with_noise(parts, folder.clean[key], noise)
        folder.write(stem, samples)
    folder.reseal(random.random() < 0.5)


def moved_sample_resealed(folder, random):
    """A sample goes to another shard, under its own key, or under one that fits there."""
    here, there = random.sample(folder.stems, 2)
    samples, others = folder.samples(here), folder.samples(there)
    key = random.choice(sorted(samples))
    other = random.choice([key, f"{int(max(others)) + 1:010d}"])
    others[other] = samples.pop(key)
    folder.write(here, samples)
    folder.write(there, others)
    folder.reseal(random.random() < 0.5)


def exchanged_shards_resealed(folder, random):
    """Two shards exchange their samples, whose keys are made to fit."""
    here, there = random.sample(folder.stems, 2)
    a, b = folder.samples(here), folder.samples(there)
    folder.write(here, {f"{here}{key[5:]}": parts for key, parts in b.items()})
    folder.write(there, {f"{there}{key[5:]}": parts for key, parts in a.items()})
    folder.reseal(random.random() < 0.5)


def parquet_with_more_resealed(folder, random):
    stem = random.choice(folder.stems)
    table = pq.read_table(folder.path / f"{stem}.parquet")
    if random.random() < 0.5:
        table = table.replace_schema_metadata({"source": "somewhere"})
    else:
        table = table.append_column("source", pa.array(["x"] * len(table)))
    folder.write_rows(stem, table)
    folder.reseal(random.random() < 0.5)


# --- the manifest ---------------------------------------------------------------------------------------------------


def edited_manifest(folder, random):
    """Another value that its schema allows, written as semshard writes it; at times the ledger's record fits."""
    manifest = folder.manifest()
    edits = [
        lambda: manifest["settings"].update(steps=manifest["settings"]["steps"] + 1),
        lambda: manifest["settings"].update(rho_u="9/255"),
        lambda: manifest["settings"].update(rho_a="0.9"),
        lambda: manifest["settings"].update(lr=-1.0),
        lambda: manifest["settings"].update(network="larger"),
        lambda: manifest["settings"].pop("momentum"),
        lambda: manifest["counts"].update(duplicates=1),
        lambda: manifest["counts"].update(rejected=1, inputs=manifest["counts"]["inputs"] + 1),
        lambda: manifest["noise"].update(psnr_mean=manifest["noise"]["psnr_mean"] + 0.5),
        lambda: manifest["noise"].update(linf_max=7),
        lambda: manifest["classes"].append("more"),
        lambda: manifest["classes"].reverse(),
        lambda: manifest["shards"].pop(),
        lambda: manifest["shards"].reverse(),
        lambda: manifest["image"].update(height=64),
        lambda: manifest["labels"].update({"from": "groups"}),
    ]
    random.choice(edits)()
    folder.write_manifest(manifest, random.random() < 0.5)


def reformatted_manifest(folder, random):
    manifest = folder.manifest()
    texts = [
        json.dumps(manifest, ensure_ascii=False),
        json.dumps(manifest, indent=1, ensure_ascii=False) + "\n",
        json.dumps(manifest, indent=2, ensure_ascii=False),
        json.dumps(manifest, indent=2, ensure_ascii=False, sort_keys=True) + "\n",
        json.dumps(manifest, indent=2, ensure_ascii=False).replace("\n", "\r\n") + "\n",
    ]
    data = random.choice(texts).encode()
    (folder.path / "manifest.json").write_bytes(data)
    if random.random() < 0.5:
        folder.ledger.write_published(sha256(data).hexdigest())


KINDS = [
    flip_any_file, flip_manifest, flip_stats, flip_parquet, flip_tar_padding, drop_file, truncate_file, append_to_file,
    swap_files, copy_file, rename_file, new_file, file_is_a_link, repack_tar, repack_tar_resealed, drop_sample,
    drop_field, rename_sample, swap_fields, wrong_class_resealed, wrong_size_resealed, one_colour_resealed,
    copied_picture_resealed, clean_original_resealed, noise_of_another_resealed, noise_of_a_class_resealed,
    drop_sample_resealed, too_much_noise_resealed, swapped_pictures_resealed, json_reformatted_resealed,
    moved_sample_resealed, exchanged_shards_resealed, parquet_with_more_resealed, edited_manifest,
    reformatted_manifest,
]  # fmt: skip


def tamper(folder, number):
    """The tampering with that number, which is the same every time; returns its kind."""
    kind = KINDS[number % len(KINDS)]
    for attempt in range(100):
        kind(folder, random.Random(f"{number}/{attempt}"))
        if not folder.is_untouched():
            return kind.__name__
        folder.restore()  # what was exchanged was the same
    raise AssertionError(f"{kind.__name__} changes nothing")
