"""What a leaked ledger gives away: how much of the noise is known then, and what a victim learns without it.

python examples/leaks.py IMAGES OUT [COUNT] [PROTECT_STEPS] [VICTIM_STEPS] [ROUNDS]

IMAGES is a folder with a subfolder for each class, images of one size. Of these it draws three sets of COUNT images: a
collection, which is protected with the preset `quick` and PROTECT_STEPS training steps; images of the attacker's own;
and test images. Then it takes the noise off with what each attacker has:

- the manifest: all settings but the seed. He protects his own images, learns a denoiser from the pairs, or makes noise
  for the published images with the surrogate of his own;
- the seed, too, but not the surrogate: he trains one with that seed on his own images;
- the ledger's surrogate, but not the seed; and both.

An attacker with a surrogate makes noise for the published image y, subtracts it, makes noise for what is left, and so
on: x ← y − δ(x), ROUNDS times. With the seed the draws of δ are those of the owner, and if x + δ(x) = y, the x is most
likely the original: he can see how far he is. Without the seed he takes the mean of the noise of all rounds, each with
other draws.

Victims (standard training, VICTIM_STEPS) learn from each result and are tested on clean images. What is finished is
kept in OUT, so the same call continues where it stopped. Writes OUT/leaks.json, the figures of
examples/results/leaks.json, which were measured on CIFAR-10.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import semshard
from semshard.engine import Runtime, deterministic, load_tensors, make_runtime, save_tensors
from semshard.inspection.originals import find_originals
from semshard.noise import SurrogateTraining, new_surrogate
from semshard.noise.methods import Noise, make_noise
from semshard.noise.views import make_view
from semshard.settings import ProtectConfig, from_json, verify_config
from semshard.shards import Ledger, ledger_path
from semshard.verification.cache import ResultCache
from semshard.verification.inputs import public_settings
from semshard.verification.trainer import VictimTrainer
from semshard.victims import Attacker, LabelledImages, VictimData
from semshard.victims.denoiser import denoise, train_denoiser

_SHARES = [
    {"title": "exact, %", "form": "{:.1f}"},
    {"title": "one level off, %", "form": "{:.1f}"},
    {"title": "sign, %", "form": "{:.1f}"},
    {"title": "noise left, levels", "form": "{:.2f}"},
    {"title": "whole images, %", "form": "{:.1f}"},
]
COLUMNS = [
    {"title": "what the attacker has, besides the shards"},
    *_SHARES,
    {"title": "victim, best", "form": "{:.1f}", "empty": "–"},
    {"title": "victim, final", "form": "{:.1f}", "empty": "–"},
]
LONGER = [{"title": "rounds", "form": "{:.0f}"}, {"title": "he sees, %", "form": "{:.1f}"}, *_SHARES]
SETS = ("collection", "own", "test")
OWN_SEED = 90_210  # of the attacker
DRAWS = 0x5EED  # which images are taken


@dataclass(frozen=True)
class Published:
    """What the attacker looks at, and the truth that he is measured by: uint8 images (N, 3, H, W) in order of keys."""

    images: Tensor
    originals: Tensor
    labels: Tensor
    keys: list[str]
    config: ProtectConfig  # with the seed

    @property
    def noise(self) -> Tensor:
        return self.images.short() - self.originals.short()

    def first(self, count: int) -> "Published":
        here = slice(count)
        return Published(
            self.images[here], self.originals[here], self.labels[here], self.keys[here], self.config
        )  # fmt: skip


def main(
    images: str, out: str, count: str = "2000", protect_steps: str = "200", victim_steps: str = "320",
    rounds: str = "4", **settings: object,
) -> None:  # fmt: skip
    home, runtime = Path(out), make_runtime("cpu")
    folders = draw_sets(Path(images), home, int(count))
    steps = {"steps": int(protect_steps), "lr_every": max(1, int(protect_steps) * 2 // 5)}
    shards = home / "shards"
    semshard.protect(folders["collection"], shards, preset="quick", seed=20_260_815, **steps, **settings)
    published = look_at(shards)
    own, test = (labelled(folders[name]) for name in SETS[1:])
    attack = Attack(runtime, published, public_settings(semshard.open_shards(shards), runtime), own, shards, home)
    restored = attack.all(int(rounds), int(victim_steps))
    rows = [["chance: the noise of another image", *known_share(published, chance(published)).values(), None, None]]
    for name, images_of_it in {"originals": published.originals, "published": published.images, **restored}.items():
        victim = reached(runtime, home, LabelledImages(images_of_it, published.labels), test, int(victim_steps))
        rows.append([name, *known_share(published, images_of_it).values(), *victim])
    longer = attack.longer(10 * int(rounds))
    figures = {"leaks": {"columns": COLUMNS, "rows": rows}, "longer": {"columns": LONGER, "rows": longer}}
    (home / "leaks.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    for row in (*rows, *longer):
        print(*row, sep=" | ")


# --- images ---------------------------------------------------------------------------------------------------------


def draw_sets(images: Path, home: Path, count: int) -> dict[str, Path]:
    """Three folders of links to images, none in two of them, as many of each class."""
    folders = {name: home / name for name in SETS}
    for kind in sorted(path for path in images.iterdir() if path.is_dir()):
        files = sorted(path for path in kind.iterdir() if path.is_file())
        random.Random(f"{DRAWS}/{kind.name}").shuffle(files)  # noqa: S311 - which pictures, the same each time
        each = count // sum(path.is_dir() for path in images.iterdir())
        if len(files) < each * len(SETS):
            raise SystemExit(f"leaks.py: {kind} holds {len(files)} images, {each * len(SETS)} are needed")
        for place, folder in enumerate(folders.values()):
            (folder / kind.name).mkdir(parents=True, exist_ok=True)
            for file in files[place * each : (place + 1) * each]:
                link = folder / kind.name / file.name
                if not link.exists():
                    link.symlink_to(file.resolve())
    return folders


def labelled(folder: Path) -> LabelledImages:
    from semshard.sources import open_source, scan

    collection = scan(open_source(folder))
    pixels, kept, _ = collection.stack(collection.usable)
    planes = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    return LabelledImages(planes, torch.from_numpy(collection.labels[kept].astype(np.int64)))


def look_at(shards: Path) -> Published:
    opened = semshard.open_shards(shards)
    originals = find_originals(opened, None)
    assert originals is not None
    samples = list(opened)
    published, clean = (
        torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())
        for pictures in ([s.image for s in samples], [originals.pixels(s.key) for s in samples])
    )
    config = from_json(ProtectConfig, Ledger(ledger_path(shards)).run()["settings"])
    labels = torch.tensor([sample.label for sample in samples])
    return Published(published, clean, labels, [sample.key for sample in samples], config)


# --- attacks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """Takes the noise off, with more or less of what only the owner should have."""

    runtime: Runtime
    published: Published
    public: ProtectConfig  # all settings but the seed
    own: LabelledImages
    shards: Path
    home: Path

    def all(self, rounds: int, victim_steps: int) -> dict[str, Tensor]:
        seed, mine = self.published.config.seed, replace(self.public, seed=OWN_SEED)
        with_seed, ledger = replace(self.public, seed=seed), Ledger(ledger_path(self.shards)).surrogate
        attacks: dict[str, Callable[[], Tensor]] = {
            "manifest, pairs of his own": lambda: self.denoised(mine, victim_steps),
            "manifest, surrogate of his own": lambda: self.subtracted(self.surrogate(mine), mine, rounds, False),
            "manifest, seed": lambda: self.subtracted(self.surrogate(with_seed), with_seed, rounds, True),
            "manifest, surrogate": lambda: self.subtracted(ledger, mine, rounds, False),
            "manifest, surrogate, seed": lambda: self.subtracted(ledger, with_seed, rounds, True),
        }
        return {name: self.once(name.replace(", ", "-").replace(" ", "-"), make) for name, make in attacks.items()}

    def longer(self, rounds: int) -> list[list[float]]:
        """How far the attacker with surrogate and seed comes in many rounds, with the images of one batch: of the
        rounds 1, 2, 5, 10, 20, 50 … what he sees, and how much he knows.
        """
        path, shown = self.home / "longer.json", [number * 10**power for power in range(4) for number in (1, 2, 5)]
        if not path.exists():
            few = replace(self, published=self.published.first(self.public.craft_batch))
            config = replace(self.public, seed=self.published.config.seed)
            found = few.courses(Ledger(ledger_path(self.shards)).surrogate, config, rounds, True)
            rows = [[number, sees, *known_share(few.published, left).values()] for number, sees, left in found]
            path.write_text(json.dumps([row for row in rows if row[0] in shown]))
        return json.loads(path.read_text())

    def once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, kept in a file."""
        path = self.home / f"{name}.safetensors"
        if not path.exists():
            save_tensors(path, {"images": make()}, {})
        return load_tensors(path)[0]["images"]

    def surrogate(self, config: ProtectConfig) -> Path:
        """The weights of a surrogate that is trained on the attacker's own images, by the seed of `config`."""
        path = self.home / f"surrogate-{config.seed}.safetensors"
        if not path.exists():
            model = self._model(config)
            view = make_view(config, self._size)[0]
            SurrogateTraining.of(self.runtime, model, view, config).run(Own(self.own))
            save_tensors(path, model.state_dict(), {})
        return path

    def subtracted(self, surrogate: Path, config: ProtectConfig, rounds: int, same_draws: bool) -> Tensor:
        """The published images less the noise that this surrogate makes for what is left of them."""
        return list(self.courses(surrogate, config, rounds, same_draws))[-1][2]

    def courses(
        self, surrogate: Path, config: ProtectConfig, rounds: int, same_draws: bool
    ) -> Iterator[tuple[int, float, Tensor]]:
        """Of every round its number, the share of values in % that the attacker sees explained, and what is left."""
        model = self._model(config)
        model.load_state_dict(load_tensors(surrogate)[0])
        y, left = self.published.images, self.published.images
        total = torch.zeros(y.shape, dtype=torch.float32)
        for number in range(rounds):
            noise = self.noise(model.eval(), config if same_draws else replace(config, seed=config.seed + number), left)
            total = total + noise
            estimate = noise if same_draws else (total / (number + 1)).round()
            explains = _percent((left.short() + noise).clamp(0, 255) == y.short())
            left = (y.short() - estimate.short()).clamp(0, 255).to(torch.uint8)
            yield number + 1, explains, left

    def noise(self, model: torch.nn.Module, config: ProtectConfig, images: Tensor) -> Tensor:
        """int8 noise for images in the places of the published ones, batch by batch as `protect` makes it."""
        size, labels, keys = self._size, self.published.labels, self.published.keys
        crafts: Noise = make_noise(self.runtime, config, 10, size, model=model)
        made, at, first = [], 0, 0
        with deterministic():
            while first < len(keys):
                shard = int(keys[first][:5])
                last = first + 1
                while last < len(keys) and last - first < config.craft_batch and int(keys[last][:5]) == shard:
                    last += 1
                at = int(keys[first][5:])
                numbers = np.arange(first, last)
                made.append(crafts(images[first:last], labels[first:last], numbers, shard, at))
                first = last
        return torch.cat(made)

    def denoised(self, config: ProtectConfig, steps: int) -> Tensor:
        """By a denoiser that learns from the attacker's own images and their protected forms."""
        model = self._model(config)
        model.load_state_dict(load_tensors(self.surrogate(config))[0])
        crafts, pairs = make_noise(self.runtime, config, 10, self._size, model=model.eval()), []
        with deterministic():
            for first in range(0, len(self.own.labels), config.craft_batch):
                part = self.own[first : first + config.craft_batch]
                numbers = np.arange(first, first + len(part.labels))
                noise = crafts(part.images, part.labels, numbers, 0, first)
                pairs.append((part.images.short() + noise).clamp(0, 255).to(torch.uint8))
        denoiser = train_denoiser(
            self.runtime, torch.cat(pairs), self.own.images, steps=steps, batch=64, seed=OWN_SEED, report=_quiet
        )
        return denoise(self.runtime, denoiser, self.published.images)

    def _model(self, config: ProtectConfig) -> torch.nn.Module:
        return new_surrogate(config, int(self.published.labels.max()) + 1, self._size, self.runtime)

    @property
    def _size(self) -> tuple[int, int]:
        return self.published.images.shape[2], self.published.images.shape[3]


@dataclass(frozen=True)
class Own:
    """The attacker's images, as the training of a surrogate reads them."""

    images: LabelledImages

    def __len__(self) -> int:
        return len(self.images.labels)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, None]:
        return self.images.images[numbers], self.images.labels[numbers], None


def _quiet(done: int, loss: Tensor) -> None:
    """Nobody watches the training."""


# --- what is left ----------------------------------------------------------------------------------------------------


def known_share(published: Published, restored: Tensor) -> dict[str, float]:
    """How much of the noise is known where images were `restored`, in % of its values but for the last two.

    exact: the right value; near: at most one grey level off; sign: of the values that are not 0, the right sign; left:
    the mean absolute noise that remains, in grey levels; images: restored bit by bit, in % of all images.
    """
    noise, found = published.noise, published.images.short() - restored.short()
    off = (noise - found).abs()
    there = noise != 0
    return {
        "exact": _percent(off == 0),
        "near": _percent(off <= 1),
        "sign": _percent((noise.sign() == found.sign())[there]),
        "left": round(float(off.float().mean()), 2),
        "images": _percent((off == 0).flatten(1).all(1)),
    }


def chance(published: Published) -> Tensor:
    """The published images, each less the noise of the next one: what is known without looking."""
    return (published.images.short() - published.noise.roll(1, 0)).clamp(0, 255).to(torch.uint8)


def _percent(true: Tensor) -> float:
    return round(100 * float(true.float().mean()), 1)


def reached(
    runtime: Runtime, home: Path, train: LabelledImages, test: LabelledImages, steps: int
) -> tuple[float, float]:
    """The best and the final accuracy, in %, of a victim with standard training."""
    size = train.images.shape[2], train.images.shape[3]
    given = {"steps": steps, "lr_every": max(1, steps // 2), "evaluations": 10, "rho_a": "0"}
    config = verify_config("quick", size, runtime.precision, given)
    cache = ResultCache(home / "victims.json")
    trainer = VictimTrainer(runtime, config, int(test.labels.max()) + 1, lambda event: None, folder=home, cache=cache)
    outcome = trainer.outcome("victim", VictimData(train, test), Attacker("small", 0.0), 0)
    return round(100 * outcome.best, 1), round(100 * outcome.final, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
