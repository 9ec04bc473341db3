"""Everything that a verification needs before its first victim is trained, opened and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..digests import sha256_of
from ..engine import Runtime
from ..errors import OutputError, ShardError
from ..inspection.originals import Originals
from ..settings import ProtectConfig, protect_config
from ..shards import Shards, damage, manifest_sha256, open_shards
from ..storage import is_remote, local_path
from ..victims import BY_NAME
from .cache import ResultCache
from .dataset import VictimDataset
from .load import load_dataset, required_originals
from .request import VerifyRequest
from .trainer import VictimTrainer


@dataclass(frozen=True)
class VerifyInputs:
    """The shards with their originals, the images to train and to test on, and what trains victims on them."""

    shards: Shards
    manifest_sha256: str
    originals: Originals
    dataset: VictimDataset
    trainer: VictimTrainer
    folder: Path  # of the report


def open_inputs(request: VerifyRequest, *, writes: bool = True) -> VerifyInputs:
    """Open the shards and their originals, and check the settings before anything that takes long. Makes the folder of
    the report, unless nothing is written.

    Raises `LedgerError` where the originals are missing, `ShardError`, `SourceError`, `SettingError`, `OutputError`.
    """
    request.workers.check()
    request.workers.refuse_mixed("a verification")
    shards = open_shards(request.shards, ledger=request.ledger, progress=request.progress)
    manifest_sha256 = _checked_manifest(shards)
    runtime = request.runtime()
    config = request.config(shards.size, runtime)
    weights = request.start_weights()
    learns_pairs = any(BY_NAME[name].learns == "denoiser" for name in config.countermeasure)
    protection = public_settings(shards, runtime) if learns_pairs else None
    trainer = VictimTrainer(runtime, config, len(shards.classes), request.progress, weights, protection)
    trainer.check(shards.size)
    originals = required_originals(shards, request.clean)
    dataset = load_dataset(shards, originals, config, request.progress)
    folder = _report_folder(request.report, shards)
    if writes and not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o700)
    cache = ResultCache(folder / "victims.json")
    trainer = replace(trainer, folder=folder, cache=cache, autosave_seconds=request.autosave_seconds)
    return VerifyInputs(shards, manifest_sha256, originals, dataset, trainer, folder)


def public_settings(shards: Shards, runtime: Runtime) -> ProtectConfig:
    """The settings that the shards were made with, as their manifest tells everybody: all but the seed.

    Raises `SettingError` where they are those of another version of semshard.
    """
    stated = dict(shards.manifest["settings"])
    preset = stated.pop("preset")
    return protect_config(preset, shards.size, runtime.precision, stated | {"precision": runtime.precision})


def _checked_manifest(shards: Shards) -> str:
    """SHA-256 of the manifest. Raises `ShardError` where a tar differs from what the manifest says."""
    for shard, stated in enumerate(shards.records):
        path = shards.tar(shard)
        with damage(f"{shards.url}/{path.name}"), shards.at_hand(path):
            sha256 = sha256_of(path)
        if sha256 != stated["sha256"]:
            raise ShardError(f"{shards.url}/{path.name} is not the tar that the manifest names; audit says more")
    return manifest_sha256(shards.directory)


def _report_folder(report: str | Path | None, shards: Shards) -> Path:
    """Where the report goes: never into the folder that is published. Raises `OutputError`."""
    beside = Path.cwd() / shards.directory.name if is_remote(shards.url) else shards.directory.absolute()
    folder = local_path(report, "report") if report else Path(f"{beside}.report")
    if folder.resolve().is_relative_to(shards.directory.resolve()):
        raise OutputError(f"{folder} is inside the shards, which are published; a report shows clean images")
    return folder
