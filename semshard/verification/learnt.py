"""What attackers learn before a victim is trained: a denoiser, or the network that counter-noise comes from.

It is learned once, and kept in the report's folder under a fingerprint of all it depends on; other processes and later
calls read it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from .._version import __version__
from ..engine import load_tensors, save_tensors
from ..errors import LedgerError
from ..progress import Event, Throttle
from ..settings import NOT_IN_RECIPE, fingerprint, to_json
from ..victims import BY_NAME, LabelledImages, VictimData
from ..victims.counter_noise import new_network, train_network, with_counter_noise
from ..victims.denoiser import denoise, new_denoiser, train_denoiser
from ..victims.pairs import protect_own
from .trainer import VictimTrainer


@dataclass
class Learnt:
    """Applies to a victim's data what its attacker learned; `trainer` says where, and by which settings."""

    trainer: VictimTrainer
    _last: tuple[str, nn.Module] | None = field(default=None, init=False)  # by its key

    def __call__(self, data: VictimData, countermeasure: str) -> VictimData:
        """The data as the victim gets it: without noise, or with counter-noise; as it is where nothing is learned."""
        learns = BY_NAME[countermeasure].learns
        if learns == "denoiser":
            return self._denoised(data)
        if learns == "counter-noise":
            return self._with_counter_noise(data.train, data)
        return data

    def _denoised(self, data: VictimData) -> VictimData:
        """Training and test images without the noise that a denoiser finds in them; --filter-on train leaves the test
        images as they are.
        """
        runtime, own = self.trainer.runtime, data.own
        assert own is not None
        model = self._denoiser(own)

        def cleaned(images: LabelledImages) -> LabelledImages:
            return replace(images, images=denoise(runtime, model, images.images))

        test = cleaned(data.test) if self.trainer.config.filter_on == "both" else data.test
        return VictimData(cleaned(data.train), test, data.validation)

    def _denoiser(self, own: LabelledImages) -> nn.Module:
        """The denoiser of one who owns these clean images."""
        runtime, config, protection = self.trainer.runtime, self.trainer.config, self.trainer.protection
        assert protection is not None
        seed = int(fingerprint("pairs", config.seed)[:12], 16)  # not that of the shards: nobody knows it

        def train() -> nn.Module:
            classes, report = self.trainer.classes, self._report
            protected = protect_own(runtime, own, protection, classes, seed, report("pairs", protection.steps))
            return train_denoiser(
                runtime, protected, own.images,
                steps=config.steps, batch=config.batch, seed=config.seed, report=report("denoiser", config.steps),
            )  # fmt: skip

        settings = {**to_json(protection), "seed": seed}
        return self._once("denoiser", (own.digest, settings), lambda: new_denoiser(0, runtime), train)

    def _with_counter_noise(self, train: LabelledImages, data: VictimData) -> VictimData:
        runtime, config, classes = self.trainer.runtime, self.trainer.config, self.trainer.classes

        def learn() -> nn.Module:
            return train_network(runtime, train, classes, config, self._report("counter-noise", config.steps))

        def untrained() -> nn.Module:
            return new_network(train.images, classes, 0, runtime)

        model = self._once("counter-noise", (train.digest, classes), untrained, learn)
        return replace(data, train=with_counter_noise(runtime, model, train, config.seed))

    def _once(
        self, name: str, of: tuple[Any, ...], untrained: Callable[[], nn.Module], train: Callable[[], nn.Module]
    ) -> nn.Module:
        """What `train` gives, from the folder where it is there already."""
        config = self.trainer.config
        where = __version__, torch.__version__, self.trainer.runtime.device.type
        recipe = {setting: value for setting, value in to_json(config).items() if setting not in NOT_IN_RECIPE}
        key = fingerprint(name, *where, *of, config.seed, recipe)
        if self._last is None or self._last[0] != key:
            self._last = key, self._from_folder(name, key, untrained, train)
        return self._last[1]

    def _from_folder(
        self, name: str, key: str, untrained: Callable[[], nn.Module], train: Callable[[], nn.Module]
    ) -> nn.Module:
        if self.trainer.folder is None:
            return train()
        path = self.trainer.folder / f"{name}-{key[:16]}.safetensors"
        try:
            tensors, about = load_tensors(path)
        except LedgerError:
            about = {}
        if about.get("key") == key:
            model = untrained()
            model.load_state_dict(tensors)
            return model
        model = train()
        save_tensors(path, model.state_dict(), {"key": key})
        return model

    def _report(self, phase: str, steps: int) -> Callable[[int, Tensor], None]:
        """Reports the progress of a training."""
        trainer, throttle = self.trainer, Throttle(self.trainer.runtime.report_seconds)

        def report(done: int, loss: Tensor) -> None:
            if throttle(done == steps):
                trainer.progress(Event(phase, done, steps, "steps", {"loss": float(loss)}))

        return report
