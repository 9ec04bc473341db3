"""The cells of a table being filled: protection by protection, victim by victim, what is known left alone."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .._version import __version__
from ..engine import make_runtime
from ..engine.deadline import Deadline
from ..errors import SettingError
from ..measuring.cost import Network, Work, network
from ..noise.views import make_view
from ..progress import remarks, with_prefix
from ..protection.protect import protect
from ..protection.request import Request
from ..protection.surrogate import train_within
from ..settings import (
    ProtectConfig,
    Size,
    VerifyConfig,
    effective,
    fingerprint,
    parse_radius,
    protect_config,
    to_json,
    verify_config,
)
from ..shards import open_shards
from ..sources import Source, SourceOptions, open_source, scan
from ..verification.dataset import VictimDataset, check_test, load_split, the_originals, with_test
from ..verification.grid import victim_figures
from ..verification.trainer import ResultCache, VictimTrainer
from ..victims import TRAIN_SAMPLE, Attacker
from .figures import Study, TableCell
from .journal import Record
from .tables import ONLY_CLEAN, cells_of, grouped, in_requested_order, to_scale, with_networks, with_patience

ROUND_EVERY = {"paper": (125, 1_000)}  # steps of a surrogate and of a victim, in a scale where cuts are not asked for
_LOOK_AT = 8  # images that tell the size of all
_REJECTS, _SECONDS = 0.01, 20  # as protect takes them


@dataclass(frozen=True)
class Group:
    """A protection of a table, and the cells that want it."""

    name: str  # of its folder
    label: str
    made: dict[str, Any]
    cells: list[TableCell]
    seed: int


@dataclass(frozen=True)
class Part:
    """A part of the work, which can be done, and timed, by itself."""

    key: str
    label: str
    work: Work


class TableRun:
    """The wanted cells of a table: what is known of them, and how the others come about."""

    def __init__(
        self,
        study: Study,
        about: Mapping[str, Any],
        block: Mapping[str, Any],
        patterns: Sequence[str],
        seeds: int,
        test: str | Path | None,
        deadline: Deadline,
    ) -> None:
        cuts = ROUND_EVERY.get(study.scale)
        self.study, self.deadline, self.seeds = study, deadline, range(seeds)
        self.settings = ({"round_every": cuts[1]} if cuts else {}) | dict(study.settings)
        self.protection = ({"round_every": cuts[0]} if cuts else {}) | dict(study.protection)
        cells = cells_of(about, block, patterns)
        self.runtime = make_runtime(study.device, str(study.settings.get("precision", "auto")), remarks(study.progress))
        self.source, self.test = open_source(study.source), open_source(test) if test else None
        if self.test:
            check_test(self.test, self.source.classes)
            if self.size is None or self._size_of(self.test) != self.size:
                raise SettingError(
                    f"{self.test.spec} cannot test {self.source.spec}: images of another size, or of several"
                )
        opened = {"source": self.source, "test": self.test}
        self._digests = {name: source.digest for name, source in opened.items() if source}
        self.wanted = with_networks(cells, block, self._recipe())
        worth = grouped(in_requested_order(self.wanted, patterns))
        self.groups = [self._group(made, some, seed) for seed in self.seeds for made, some in worth]
        self._at_work: Group | None = None  # whose surrogate is still needed

    @functools.cached_property
    def record(self) -> Record:
        """What is known of the cells and of the work; a plan asks for neither."""
        return Record(self.study.out / "record.json", self.runtime)

    def run(self) -> None:
        """Fill every cell that is not known yet. Raises `TimeIsUp`."""
        kept = ResultCache(self.study.out / "victims.json")
        for group in self.groups:
            todo = [cell for cell in group.cells if not self._known(cell, group.seed)]
            if not todo:
                continue
            if all(cell.protect is None for cell in todo):
                group = self._group(ONLY_CLEAN, todo, group.seed)
            self.deadline.begin(group.label)
            self._at_work = group
            split, examiner = self._examination(group)
            for number, cell in enumerate(todo):
                protected = any(each.protect is not None for each in todo[number:])
                self._at_work = group if protected else None
                self.deadline.begin(_label(cell, group.seed, self.seeds))
                self._examine(cell, split, examiner, kept, group.seed)
            self._at_work = None

    def plan(self) -> Iterator[Part]:
        """Every part of the work, in order, done or not; a victim that several cells ask for counts once."""
        victims = set[str]()
        for group in self.groups:
            config = self._config(group)
            if config.has_surrogate:
                yield self._surrogate_part(group, config)
            yield self._images_part(group, config, len(self.source))
            for cell in group.cells:
                part = self._victim_part(cell, group.seed)
                if part.key not in victims:
                    yield part
                victims.add(part.key)

    def parts(self) -> list[dict[str, Any]]:
        """What was done of the plan, and what came to it where clean victims were left to do alone."""
        return self.record.parts(self._labels)

    def machines(self) -> dict[str, dict[str, Any]]:
        """Those that did it."""
        effective = {part["machine"] for part in self.parts()}
        return {name: about for name, about in self.record.machines.items() if name in effective}

    def cells(self) -> list[TableCell]:
        """The wanted cells in the paper's order, ours filled in where all seeds are known."""
        found = []
        for cell in self.wanted:
            known = [each for seed in self.seeds if (each := self._known(cell, seed))]
            found.append(_filled(cell, known) if len(known) == len(self.seeds) else cell)
        return found

    def examined(self) -> tuple[dict[str, int], dict[str, Any]]:
        """How many samples victims were trained and tested on, and their settings."""
        known = (self._known(cell, seed) for cell in self.wanted for seed in self.seeds)
        first = next((each for each in known if each), None)
        recipe = to_json(self._recipe())
        return (first["samples"], first["victim"]) if first else ({"train": 0, "test": 0}, recipe)

    def protections(self) -> dict[str, dict[str, Any]]:
        """The settings of every protection."""
        return {group.label: effective(self._config(group)) for group in self.groups}

    def digests(self) -> dict[str, str]:
        """SHA-256 in hex of what went in and of what was made."""
        made = {label: self.record.digests[key] for key, label in self._labels.items() if key in self.record.digests}
        return self._digests | made

    @functools.cached_property
    def _labels(self) -> dict[str, str]:
        """The label of every part that there can be, by its key, in order."""
        alone = (self._group(ONLY_CLEAN, [], seed) for seed in self.seeds)
        more = (self._images_part(group, self._config(group), 0) for group in alone)
        return {part.key: part.label for part in itertools.chain(self.plan(), more)}

    def carried(self) -> list[str]:
        """The files below `out` that another machine needs to go on."""
        out = self.study.out
        found = [out / "victims.json", out / "record.json", *out.glob("victim-*.safetensors")]
        if self._at_work:
            found += out.glob(f"surrogates/{self._at_work.name}.safetensors*")
        return [str(path.relative_to(out)) for path in found if path.exists()]

    # --- settings -------------------------------------------------------------------------------------------------

    @functools.cached_property
    def size(self) -> Size:
        """That of the first images; None where they have several."""
        return self._size_of(self.source)

    def _size_of(self, source: Source) -> Size:
        numbers = range(min(_LOOK_AT, len(source)))
        return scan(source, resolution=int(self.protection.get("resolution", 0)), numbers=numbers).size

    def _recipe(self, cells: Sequence[TableCell] = ()) -> VerifyConfig:
        plain = verify_config(self.study.scale, self.size, self.runtime.precision, self.settings)
        return with_patience(plain, cells)

    def _group(self, made: Mapping[str, Any], cells: list[TableCell], seed: int) -> Group:
        """Raises `SettingError` where the caller sets what the table sets."""
        fixed = sorted({*made, "preset", "seed"} & {*self.study.protection})
        if fixed:
            raise SettingError(f"the table sets {', '.join(fixed)} itself")
        whole = {**made, **self.protection}
        name = f"{made.get('method', 'cell')}-{fingerprint(whole, self.study.scale, seed)[:8]}"
        protected = next((cell for cell in cells if cell.protect is not None), None)
        label = _label(protected, seed, self.seeds) if protected else "clean victims"
        return Group(name, label, whole, cells, seed)

    def _config(self, group: Group) -> ProtectConfig:
        return protect_config(self.study.scale, self.size, self.runtime.precision, group.made)

    def _key(self, cell: TableCell, seed: int, *but: str) -> str:
        """The fingerprint of a cell: all that its figures depend on, `but` some of what its victim is asked for."""
        where = __version__, torch.__version__, self.runtime.device.type, self.study.scale
        asked = {name: value for name, value in cell.victim.items() if name not in but}
        recipe = to_json(self._recipe([] if but else [cell]))
        return fingerprint(*where, self._digests, cell.protect, self.protection, asked, recipe, seed)

    def _known(self, cell: TableCell, seed: int) -> dict[str, Any] | None:
        return self.record.cell(self._key(cell, seed))

    # --- parts ----------------------------------------------------------------------------------------------------

    def _network(self, name: str, config: ProtectConfig | VerifyConfig) -> Network:
        return network(name, len(self.source.classes), make_view(config, self.size)[1], self.runtime.precision)

    def _surrogate_part(self, group: Group, config: ProtectConfig) -> Part:
        work = self._network(config.network, config).surrogate(config)
        return Part(f"surrogate {group.name}", f"surrogate for {group.label}", work)

    def _images_part(self, group: Group, config: ProtectConfig, images: int) -> Part:
        work = self._network(config.network, config).crafting(config, images) if config.has_surrogate else Work()
        return Part(f"images {group.name}", f"images for {group.label}", work)

    def _victim_part(self, cell: TableCell, seed: int) -> Part:
        recipe = self._recipe([cell])
        images = len(self.source)
        tested = len(self.test) if self.test else round(recipe.holdout * images)
        learnt = min(TRAIN_SAMPLE, images if self.test else images - tested)
        of_it = self._network(cell.victim["network"], recipe)
        work = of_it.victim(recipe, parse_radius(cell.victim["rho_a"]), tested + learnt)
        key = self._key(cell, seed, "patience", "clean_ratio")  # one training is stopped by every rule
        return Part(f"victim {key}", f"victim for {_label(cell, seed, self.seeds)}", work)

    def _examination(self, group: Group) -> tuple[VictimDataset, VictimTrainer]:
        """The protected images of a group, made where they are not there yet, and who examines them."""
        study, told = self.study, with_prefix(group.name, self.study.progress)
        config, folder = self._config(group), study.out / "protected" / group.name
        surrogate = self._surrogate(group, config) if config.has_surrogate else None
        self.deadline.begin(f"images for {group.label}")
        made = protect(
            study.source, folder, preset=study.scale, device=study.device, surrogate=surrogate, progress=told,
            **group.made, seed=group.seed,
        )  # fmt: skip
        if made.made:
            part = self._images_part(group, config, made.samples)
            self.record.add(part.key, part.label, sum(made.seconds.values()), part.work)
            self.record.digest(part.key, folder / "manifest.json")
        shards = open_shards(folder)
        recipe = self._recipe(group.cells)
        split = load_split(shards, the_originals(shards, None), recipe, told)
        if self.test:
            split = with_test(split, shards, self.test, told)
        classes = len(shards.classes)
        examiner = VictimTrainer(
            self.runtime, recipe, classes, study.progress, folder=study.out, deadline=self.deadline
        )  # fmt: skip
        return split, examiner

    def _surrogate(self, group: Group, config: ProtectConfig) -> Path:
        """The file of a group's surrogate, trained where it is not there yet."""
        path = self.study.out / "surrogates" / f"{group.name}.safetensors"
        if not path.exists():
            told, settings = with_prefix(group.name, self.study.progress), {**group.made, "seed": group.seed}
            request = Request(self.study.scale, None, False, _REJECTS, settings, SourceOptions(), told)
            part = self._surrogate_part(group, config)
            with self.record.timed(part.key, part.label, part.work):
                train_within(self.deadline, self.study.source, path, request, self.runtime, _SECONDS)
            self.record.digest(part.key, path)
        return path

    def _examine(
        self, cell: TableCell, split: VictimDataset, examiner: VictimTrainer, kept: ResultCache, seed: int
    ) -> None:
        """Train and test the victim of a cell, and keep what came of it."""
        config, asked = examiner.config, cell.victim
        attacker = Attacker(asked["network"], parse_radius(asked["rho_a"]), asked["countermeasure"])
        kind = asked.get("data", "clean") if cell.protect is None else "protected"
        material = split.material(kind, attacker.countermeasure)
        phase = f"{cell.row}, {cell.column}: {attacker.name}"
        new = examiner.key(material, attacker, seed) not in kept
        figures = victim_figures(examiner, kept, phase, material, attacker, seed)
        final = figures["final"]
        if "patience" in asked:
            rule = to_scale(asked["patience"], config), asked["clean_ratio"]
            final = next(stop.test for stop in figures["stops"] if (stop.patience, stop.clean_share) == rule)
        if new:
            part = self._victim_part(cell, seed)
            self.record.add(part.key, part.label, figures["seconds"], part.work)
        samples = {"train": int(split.train.sum()), "test": int(split.test.sum())}
        about = {"samples": samples, "victim": to_json(config)}
        self.record.put(
            self._key(cell, seed), {"final": final, "best": figures["best"], "train": figures["train"], **about}
        )


def _label(cell: TableCell, seed: int, seeds: range) -> str:
    return f"{cell.row}, {cell.column}" + (f", seed {seed}" if len(seeds) > 1 else "")


def _filled(cell: TableCell, known: Sequence[Mapping[str, Any]]) -> TableCell:
    final, best = ([100 * each[of] for each in known] for of in ("final", "best"))
    spread = (max(final) - min(final)) / 2 if len(final) > 1 else None
    return replace(
        cell,
        ours=round(statistics.fmean(final), 2),
        best=round(statistics.fmean(best), 2),
        spread=None if spread is None else round(spread, 2),
    )
