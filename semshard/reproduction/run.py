"""The plan of a table, carried out protection by protection and victim by victim; what is done is not done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..engine import Deadline, Runtime
from ..progress import Progress, with_prefix
from ..protection.request import Request
from ..protection.surrogate import SurrogateFiles
from ..settings import VerifyConfig, fingerprint, parse_radius, to_json
from ..shards import Shards, open_shards
from ..studies.shared_scan import SharedScan
from ..verification.cache import ResultCache
from ..verification.dataset import VictimDataset
from ..verification.grid import PreparedData, VictimTask
from ..verification.load import load_dataset, required_originals, with_test
from ..verification.parallel import train_all, works_of
from ..verification.results import VictimOutcome
from ..verification.trainer import VictimTrainer
from ..verification.victim_work import VictimWork
from ..victims import Attacker
from .journal import Journal
from .plan import PlannedProtection, PlannedVictim, TablePlan
from .request import Images, TableRequest
from .tables import scaled_patience


@dataclass
class TableRun:
    """Carries out a plan in the folder `out`."""

    request: TableRequest
    images: Images
    plan: TablePlan
    journal: Journal
    out: Path
    deadline: Deadline
    _scans: dict[str, SharedScan] = field(default_factory=dict)  # by the settings of pictures
    _surrogate_needed: str = ""  # of which protection, as long as one of its victims is to come

    @property
    def runtime(self) -> Runtime:
        return self.journal.runtime

    @property
    def progress(self) -> Progress:
        return self.request.progress

    def execute(self) -> None:
        """Train every victim whose figures are not in the journal yet. Raises `TimeIsUp`."""
        cache = ResultCache(self.out / "victims.json")
        left = (self.plan.remaining(planned, self._is_done) for planned in self.plan.protections)
        if self.request.workers.together:
            self._train_together([each for each in left if each], cache)
            return
        for protection in filter(None, left):
            self._execute(protection, cache)

    def files_to_carry(self) -> list[str]:
        """The files below `out` with which another machine can continue."""
        files = [self.out / "victims.json", self.out / "record.json", *self.out.glob("victim-*.safetensors")]
        if self._surrogate_needed:
            files += self.out.glob(f"surrogates/{self._surrogate_needed}.safetensors*")
        return [str(path.relative_to(self.out)) for path in files if path.exists()]

    def _is_done(self, victim: PlannedVictim) -> bool:
        return self.journal.cell(victim.key) is not None

    def _execute(self, protection: PlannedProtection, cache: ResultCache) -> None:
        """Protect the images, then train the victims."""
        self.deadline.begin(protection.label)
        self._surrogate_needed = protection.name
        shards = self._protected(protection)
        dataset = self._dataset(protection, shards)
        trainer = self._trainer(protection, shards, cache)
        for number, victim in enumerate(protection.victims):
            more = any(later.cell.protect is not None for later in protection.victims[number:])
            self._surrogate_needed = protection.name if more else ""
            self.deadline.begin(victim.label)
            self._train(victim, dataset, trainer)
        self._surrogate_needed = ""

    def _train_together(self, protections: Sequence[PlannedProtection], cache: ResultCache) -> None:
        """Protect the images in every way, then train all victims, several at once."""
        victims: dict[VictimWork, tuple[PlannedVictim, VictimTrainer, dict[str, int]]] = {}
        for protection in protections:
            shards = self._protected(protection)
            dataset, trainer = self._dataset(protection, shards), self._trainer(protection, shards, cache)
            tasks = [_task(victim) for victim in protection.victims]
            names = [_phase(victim) for victim in protection.victims]
            for victim, work in zip(protection.victims, works_of(dataset, trainer, tasks, names), strict=True):
                victims[work] = victim, trainer, _samples(dataset)
        known = {work.key for work in victims if work.key in cache}
        for work, outcome in train_all(list(victims), trainer, self.request.workers) if victims else ():
            victim, its_trainer, samples = victims[work]
            if work.key not in known:
                self.journal.add_work(victim.training, outcome.seconds)
                known.add(work.key)
            self._keep(victim, outcome, its_trainer.config, samples)

    def _trainer(self, protection: PlannedProtection, shards: Shards, cache: ResultCache) -> VictimTrainer:
        return VictimTrainer(
            self.runtime, protection.recipe, len(shards.classes), self.progress, folder=self.out, cache=cache,
            deadline=self.deadline,
        )  # fmt: skip

    def _protected(self, protection: PlannedProtection) -> Shards:
        """The shards of a protection, made where they are not finished yet."""
        surrogate = self._surrogate(protection) if protection.surrogate else None
        self.deadline.begin(f"images for {protection.label}")
        folder = self.out / "protected" / protection.name
        request = replace(self._request(protection), surrogate=surrogate)
        protected = self._scan(request).protect(request, folder)
        if protected.made:
            item = protection.crafting(self.plan.basis, protected.samples)
            self.journal.add_work(item, sum(protected.seconds.values()))
            self.journal.add_digest(item.key, folder / "manifest.json")
        return open_shards(folder)

    def _surrogate(self, protection: PlannedProtection) -> Path:
        """The file of a protection's surrogate, trained where it is not finished yet."""
        path = self.out / "surrogates" / f"{protection.name}.safetensors"
        if protection.surrogate and not path.exists():
            request = self._request(protection)
            files = SurrogateFiles(path, path.with_name(path.name + ".checkpoint"), request.checkpoint_seconds)
            scan = self._scan(request)
            config = scan.config(request)  # the scan itself is not timed
            with self.journal.timed(protection.surrogate):
                scan.train(config, files, request.progress, self.deadline)
            self.journal.add_digest(protection.surrogate.key, path)
        return path

    def _request(self, protection: PlannedProtection) -> Request:
        """A protection as the arguments of `protect`."""
        table, progress = self.request, with_prefix(protection.name, self.progress)
        settings = {**protection.settings, "seed": protection.seed}
        return Request(
            table.source, table.scale, device=table.device, progress=progress, settings=settings, workers=table.workers
        )

    def _scan(self, request: Request) -> SharedScan:
        """The scan that all protections with the same picture settings share."""
        scan = SharedScan(replace(request, progress=self.progress), self.runtime)
        return self._scans.setdefault(fingerprint(request.pictures()), scan)

    def _dataset(self, protection: PlannedProtection, shards: Shards) -> VictimDataset:
        """What the victims of a protection train on, and what they are tested on."""
        progress = with_prefix(protection.name, self.progress)
        dataset = load_dataset(shards, required_originals(shards, None), protection.recipe, progress)
        return (
            with_test(dataset, shards, self.images.test, str(self.request.test), progress)
            if self.images.test
            else dataset
        )

    def _train(self, victim: PlannedVictim, dataset: VictimDataset, trainer: VictimTrainer) -> None:
        """Train and test a victim, where the cache does not have it, and keep the figures of its cell."""
        task = _task(victim)
        data = PreparedData(dataset, trainer)(task)
        cached = trainer.is_cached(data, task.attacker, task.seed)
        outcome = trainer.outcome(_phase(victim), data, task.attacker, task.seed)
        if not cached:
            self.journal.add_work(victim.training, outcome.seconds)
        self._keep(victim, outcome, trainer.config, _samples(dataset))

    def _keep(
        self, victim: PlannedVictim, outcome: VictimOutcome, recipe: VerifyConfig, samples: dict[str, int]
    ) -> None:
        """The figures of a cell."""
        self.journal.add_cell(
            victim.key,
            {
                "final": _final(victim, outcome, recipe), "best": outcome.best, "train": outcome.train,
                "under_pgd": outcome.under_pgd, "train_under_pgd": outcome.train_under_pgd,
                "train_under_own": outcome.train_under_own, "samples": samples, "victim": to_json(recipe),
            },
        )  # fmt: skip


def _task(victim: PlannedVictim) -> VictimTask:
    """Who is trained for a cell, and on what."""
    cell, settings = victim.cell, victim.cell.victim
    attacker = Attacker(settings["network"], parse_radius(settings["rho_a"]), settings["countermeasure"])
    kind = settings.get("data", "clean") if cell.protect is None else "protected"
    return VictimTask(attacker, kind, victim.seed)


def _phase(victim: PlannedVictim) -> str:
    return f"{victim.cell.row}, {victim.cell.column}: {_task(victim).attacker.name}"


def _samples(dataset: VictimDataset) -> dict[str, int]:
    return {"train": int(dataset.train.sum()), "test": int(dataset.test.sum())}


def _final(victim: PlannedVictim, outcome: VictimOutcome, recipe: VerifyConfig) -> float:
    """The accuracy that a cell shows: after the last step, or what its rule of early stopping would have kept."""
    settings = victim.cell.victim
    if "patience" not in settings:
        return outcome.final
    rule = scaled_patience(settings["patience"], recipe), settings["clean_ratio"]
    return next(stop.test for stop in outcome.stops if (stop.patience, stop.clean_share) == rule)
