"""The plan of a table: which protections and victims its cells need, in which order, and what each costs.

Everything here is arithmetic on settings and on a few facts about the images; nothing is read, trained or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .._version import __version__
from ..errors import SettingError
from ..measuring.cost import Network, Work, network
from ..noise.views import make_view
from ..settings import (
    ProtectConfig,
    Size,
    VerifyConfig,
    fingerprint,
    parse_radius,
    protect_config,
    to_json,
    verify_config,
)
from ..victims import TRAIN_SAMPLE, attack_passes
from .tables import ONLY_CLEAN, PaperTable, TableCell, grouped, in_requested_order, with_settings_of

_ONE_TRAINING = ("patience", "clean_ratio")  # settings of a cell that do not change the training of its victim


@dataclass(frozen=True)
class ImageFacts:
    """What a plan needs to know about the images."""

    images: int
    test_images: int  # in a source of their own; 0: some of the images are held out
    classes: int
    size: Size
    digests: Mapping[str, str]  # of the sources: source, test


@dataclass(frozen=True)
class PlanBasis:
    """Everything that a plan follows from, besides the cells."""

    scale: str  # the preset of both sides
    seeds: int
    protection: Mapping[str, Any]  # settings of every protection
    victim: Mapping[str, Any]  # settings of every victim
    facts: ImageFacts
    precision: str  # float32 | bfloat16
    device: str  # cpu | cuda

    def protection_config(self, settings: Mapping[str, Any]) -> ProtectConfig:
        """The settings of a protection in full."""
        return protect_config(self.scale, self.facts.size, self.precision, settings)

    def recipe(self, cells: Sequence[TableCell] = ()) -> VerifyConfig:
        """The settings of the victims, with those that `cells` need."""
        plain = verify_config(self.scale, self.facts.size, self.precision, self.victim)
        return with_settings_of(cells, plain)

    def network(self, name: str, config: ProtectConfig | VerifyConfig) -> Network:
        """The cost of the network `name` on the views of a config."""
        return network(name, self.facts.classes, make_view(config, self.facts.size)[1], self.precision)

    def label(self, cell: TableCell, seed: int) -> str:
        """A cell and its seed in words."""
        return f"{cell.row}, {cell.column}" + (f", seed {seed}" if self.seeds > 1 else "")


@dataclass(frozen=True)
class WorkItem:
    """A part of the work that is done, and timed, by itself."""

    key: str
    label: str
    work: Work


@dataclass(frozen=True)
class PlannedVictim:
    """A victim for a cell."""

    cell: TableCell
    seed: int
    label: str
    key: str  # the fingerprint of all that the cell's figures depend on
    training: WorkItem  # several cells may share one, and read it by different rules of early stopping


@dataclass(frozen=True)
class PlannedProtection:
    """A protection, and the victims that are trained on it."""

    name: str  # of its folder
    label: str
    settings: dict[str, Any]
    config: ProtectConfig
    seed: int
    recipe: VerifyConfig  # of its victims
    victims: tuple[PlannedVictim, ...]
    surrogate: WorkItem | None  # None: the method has none
    images: WorkItem

    def crafting(self, basis: PlanBasis, images: int) -> WorkItem:
        """The work of so many images."""
        return _images_item(basis, self.name, self.label, self.config, images)


@dataclass(frozen=True)
class TablePlan:
    """All the work for the requested cells of a table, in the order in which it is done."""

    basis: PlanBasis
    cells: tuple[TableCell, ...]  # requested, in the paper's order
    protections: tuple[PlannedProtection, ...]
    clean_only: tuple[PlannedProtection, ...]  # of each seed, for victims of clean images that remain alone

    def items(self) -> list[WorkItem]:
        """Every part of the work, in order, done or not; a training that several cells share appears once."""
        items: dict[str, WorkItem] = {}
        for protection in self.protections:
            own = [protection.surrogate] if protection.surrogate else []
            for item in (*own, protection.images, *(victim.training for victim in protection.victims)):
                items.setdefault(item.key, item)
        return list(items.values())

    def labels(self) -> dict[str, str]:
        """The label of every part that there can be, by its key, in order."""
        possible = (*self.items(), *(protection.images for protection in self.clean_only))
        return {item.key: item.label for item in possible}

    def victims(self) -> Iterator[PlannedVictim]:
        """Every victim, one for each cell and seed."""
        for protection in self.protections:
            yield from protection.victims

    def remaining(
        self, protection: PlannedProtection, is_done: Callable[[PlannedVictim], bool]
    ) -> PlannedProtection | None:
        """What is left to do of a protection; None where nothing is.

        Where all that is left needs clean images only, the cheapest protection takes its place.
        """
        victims = tuple(victim for victim in protection.victims if not is_done(victim))
        if not victims:
            return None
        if any(victim.cell.protect is not None for victim in victims):
            return replace(protection, victims=victims)
        recipe = self.basis.recipe([victim.cell for victim in victims])
        return replace(self.clean_only[protection.seed], victims=victims, recipe=recipe)


def plan_table(table: PaperTable, patterns: Sequence[str], basis: PlanBasis) -> TablePlan:
    """The plan for the cells of a table that the patterns name, in the order of the patterns.

    Raises `SettingError` for cells that do not exist, and for settings that the table sets itself.
    """
    cells = table.with_networks(table.cells(patterns), basis.recipe())
    groups, seeds = grouped(in_requested_order(cells, patterns)), range(basis.seeds)
    protections = [_protection(basis, settings, group, seed) for seed in seeds for settings, group in groups]
    clean_only = [_protection(basis, ONLY_CLEAN, [], seed) for seed in seeds]
    return TablePlan(basis, tuple(cells), tuple(protections), tuple(clean_only))


def _protection(
    basis: PlanBasis, table_settings: Mapping[str, Any], cells: Sequence[TableCell], seed: int
) -> PlannedProtection:
    """Raises `SettingError` where the caller sets what the table sets."""
    fixed = sorted({*table_settings, "preset", "seed"} & {*basis.protection})
    if fixed:
        raise SettingError(f"the table sets {', '.join(fixed)} itself")
    settings = {**table_settings, **basis.protection}
    config = basis.protection_config(settings)
    name = f"{table_settings.get('method', 'cell')}-{fingerprint(settings, basis.scale, seed)[:8]}"
    protected = next((cell for cell in cells if cell.protect is not None), None)
    label = basis.label(protected, seed) if protected else "clean victims"
    surrogate = None
    if config.has_surrogate:
        work = basis.network(config.network, config).surrogate(config)
        surrogate = WorkItem(f"surrogate {name}", f"surrogate for {label}", work)
    return PlannedProtection(
        name, label, settings, config, seed,
        recipe=basis.recipe(cells),
        victims=tuple(_victim(basis, cell, seed) for cell in cells),
        surrogate=surrogate,
        images=_images_item(basis, name, label, config, basis.facts.images),
    )  # fmt: skip


def _images_item(basis: PlanBasis, name: str, label: str, config: ProtectConfig, images: int) -> WorkItem:
    work = basis.network(config.network, config).crafting(config, images) if config.has_surrogate else Work()
    return WorkItem(f"images {name}", f"images for {label}", work)


def _victim(basis: PlanBasis, cell: TableCell, seed: int) -> PlannedVictim:
    """A victim of a cell. Its work contains the evaluations, of the test images and of a sample of the others."""
    recipe, label, facts = basis.recipe([cell]), basis.label(cell, seed), basis.facts
    used = min(facts.images, recipe.max_samples or facts.images)
    tested = facts.test_images or round(recipe.holdout * used)
    others = used if facts.test_images else used - tested
    evaluated = tested + min(TRAIN_SAMPLE, others)
    cost = basis.network(cell.victim["network"], recipe)
    attacked = attack_passes(recipe.steps_a, tested, others)
    work = cost.victim(recipe, parse_radius(cell.victim["rho_a"]), evaluated, attacked)
    training = WorkItem(f"victim {_training_key(basis, cell, seed)}", f"victim for {label}", work)
    return PlannedVictim(cell, seed, label, _key(basis, cell, cell.victim, recipe, seed), training)


def _training_key(basis: PlanBasis, cell: TableCell, seed: int) -> str:
    """The fingerprint of a victim's training, which ends the same whatever rule stops it early."""
    trained = {name: value for name, value in cell.victim.items() if name not in _ONE_TRAINING}
    return _key(basis, cell, trained, basis.recipe(), seed)


def _key(basis: PlanBasis, cell: TableCell, victim: Mapping[str, Any], recipe: VerifyConfig, seed: int) -> str:
    """A fingerprint of versions, images and the settings of both sides."""
    where = __version__, torch.__version__, basis.device, basis.scale
    sides = cell.protect, dict(basis.protection), dict(victim), to_json(recipe)
    return fingerprint(*where, dict(basis.facts.digests), *sides, seed)
