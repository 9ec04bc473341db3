"""What the caller of protect, train or plan asked for, and the settings that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engine import Runtime, choose_preset, load_tensors, make_runtime
from ..errors import LedgerError, SettingError
from ..noise.views import make_view
from ..numbered_part import NumberedPart
from ..progress import Progress, remarks, silent
from ..publishing import Statement
from ..settings import CELL_SETTINGS, PICTURES, TRAINED_WITH, ProtectConfig, Size, coerce, protect_config, to_json
from ..signing import Signer
from ..sources import AUTO, Source, SourceOptions, open_source
from ..sources.decode import decoding_of
from ..workers import WorkerOptions

_FINAL = ("final_steps", "final_alpha", "final_draws", "final_views")
GROUPS = 10  # that --labels auto makes where --groups is not given


@dataclass(frozen=True)
class Request:
    """The arguments of the caller, besides the output; `settings` are the fields of `ProtectConfig` that were given."""

    source: str | Path
    preset: str = "auto"
    surrogate: str | Path | None = None
    overwrite: bool = False
    max_rejects: float = 0.01
    device: str = "auto"
    checkpoint_seconds: float = 20
    options: SourceOptions = field(default_factory=SourceOptions)
    progress: Progress = silent
    settings: Mapping[str, Any] = field(default_factory=dict)
    extend: bool = False
    retry_rejects: bool = False
    stated: Mapping[str, str | None] = field(default_factory=dict)  # by the owner, for the data card
    signer: Signer | None = None  # of the finished folder
    until: str | None = None  # "surrogate": the call ends when the surrogate is trained
    part: NumberedPart | None = None  # of the shards: the call makes these, and no manifest
    finish: bool = False  # the call makes no shards, and the manifest
    workers: WorkerOptions = field(default_factory=WorkerOptions)

    @property
    def grows(self) -> bool:
        """Whether a finished output is to be given more images."""
        return self.extend or self.retry_rejects

    def open(self) -> Source:
        """The source, its files listed. Raises `SourceError`."""
        return open_source(self.source, self.options)

    def runtime(self) -> Runtime:
        """The device and the precision. Raises `SettingError` where the device does not exist."""
        return make_runtime(self.device, str(self.settings.get("precision", "auto")), remarks(self.progress))

    def pictures(self) -> dict[str, Any]:
        """The settings of how pictures are read and written; those that were not given have their defaults."""
        given = {name: self.settings[name] for name in PICTURES if name in self.settings}
        return PICTURES | coerce(ProtectConfig, given)

    def check(self, source: Source, runtime: Runtime) -> None:
        """Raise `SettingError`, before the long scan, for settings that are impossible whatever the size of the images,
        for a statement that cannot be published, and for a surrogate that was trained for other classes.
        """
        Statement().updated(self.stated)
        self.workers.check()
        self._check_settings(runtime)
        if self.surrogate and source.classes:
            known, classes = load_tensors(Path(self.surrogate))[1].get("classes"), list(source.classes)
            if known != classes:
                raise SettingError(
                    f"{self.surrogate} was trained for classes {in_short(known)}, here it is {in_short(classes)}"
                )

    def _check_settings(self, runtime: Runtime) -> None:
        problem, quiet = None, replace(runtime, remark=lambda sentence: None)
        for size in ((32, 32), (256, 256)):
            try:
                self.config(size, quiet)
            except SettingError as error:
                problem = problem or error
            else:
                return
        if problem:
            raise problem

    def config(self, size: Size, runtime: Runtime) -> ProtectConfig:
        """The settings of a run on images of `size`: those given, those that a given surrogate was trained with, those
        of the preset. Raises `SettingError` where they do not go together.
        """
        given, trained = dict(self.settings), self._trained_settings()
        if self.options.labels == AUTO:
            given = {"groups": GROUPS} | given
        elif given.get("groups"):
            raise SettingError("groups is for images without labels; say --labels auto")
        preset, base = self.preset, dict[str, Any]()
        if trained:
            preset = trained["preset"] if preset == "auto" else preset
            if preset == trained["preset"]:  # hardened noise is crafted in its own way
                base |= {name: trained[name] for name in _FINAL if not (name == "final_alpha" and "rho_u" in given)}
        needed = {name: trained[name] for name in TRAINED_WITH if trained}
        cell = ("method", *CELL_SETTINGS)
        cell_given = any(name in given for name in cell)  # then it is compared with the trained one below
        base |= {name: value for name, value in needed.items() if not (cell_given and name in cell)}
        config = protect_config(choose_preset(preset, runtime), size, runtime.precision, base | given)
        make_view(config, size)
        decoding_of(to_json(config))
        if config.grey == "keep" and not config.has_surrogate:
            raise SettingError(f"method {config.method} has no grey noise; leave --grey keep out")
        self._check_trained(config, needed)
        return config

    def _trained_settings(self) -> dict[str, Any]:
        """All settings that the given surrogate was trained with, as JSON values; none without a surrogate.

        Raises `LedgerError` where another version of semshard wrote it, which had other settings.
        """
        if not self.surrogate:
            return {}
        settings = load_tensors(Path(self.surrogate))[1].get("settings", {})
        missing = [name for name in ("preset", *_FINAL, *TRAINED_WITH) if name not in settings]
        if missing:
            raise LedgerError(f"{self.surrogate} was written by another version of semshard: it lacks {missing[0]}")
        return dict(settings)

    def _check_trained(self, config: ProtectConfig, trained: Mapping[str, Any]) -> None:
        for name, value in trained.items():
            if name == "quality" and not config.jpeg_safe:
                continue
            if getattr(config, name) != coerce(ProtectConfig, {name: value})[name]:
                now = to_json(config)[name]
                raise SettingError(f"{self.surrogate} was trained with {name} = {value}, not {now}")


def in_short(value: Any) -> str:
    """A value in an error message: of a long list its first items."""
    return f"{value[:5]} and {len(value) - 5} more" if isinstance(value, list) and len(value) > 5 else str(value)
