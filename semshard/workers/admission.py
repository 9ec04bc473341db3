"""Who may take part in a run on several machines: what a worker says of itself, against what the driver has."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy
import PIL

from .._version import __version__
from ..atomic import atomic_write
from ..errors import SettingError

Hello = Mapping[str, str]  # what a worker says of itself
_NONCE = "nonce-"  # begins the name of a file while actors work


def versions() -> Hello:
    """Versions of what decodes and encodes pictures."""
    return {
        "semshard": __version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }


@dataclass(frozen=True)
class Nonce:
    """A file of random text: who reads it there sees the same folder."""

    path: Path
    text: str

    def read(self) -> str:
        """What the file says on this machine, or why it cannot be read."""
        try:
            return self.path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            return str(error)

    def is_seen(self) -> bool:
        """Whether this machine sees the same folder."""
        return self.read() == self.text


@contextmanager
def nonce_in(folder: Path) -> Iterator[Nonce]:
    """A nonce in a folder, as long as the block lasts; of another name than those of other drivers."""
    nonce = Nonce(folder.absolute() / f"{_NONCE}{secrets.token_hex(4)}", secrets.token_hex(16))
    with atomic_write(nonce.path) as file:
        file.write(nonce.text.encode())
    try:
        yield nonce
    finally:
        nonce.path.unlink(missing_ok=True)


def forget_nonces(folder: Path) -> None:
    """Remove what drivers that were killed have left in a folder, while no other process works there."""
    for nonce in folder.glob(f"{_NONCE}*"):
        nonce.unlink(missing_ok=True)


@dataclass(frozen=True)
class Admission:
    """What the driver holds a worker's words against.

    `sights` are what a worker has to see as the driver does, each with the words about a node that does not, "cannot
    read …". All else are versions and kinds that results depend on; `kinds` of these may differ where `mixed` machines
    are allowed.
    """

    expected: Hello
    sights: Mapping[str, str]
    kinds: tuple[str, ...] = ()
    mixed: bool = False

    def check(self, hello: Hello, node: str) -> None:
        """Raise `SettingError` where a worker's results would differ, or it does not see the same files."""
        other = [name for name, here in self.expected.items() if hello[name] != here]
        for name in (name for name in self.sights if name in other):
            raise SettingError(f"node {node} {self.sights[name]}")
        if self.mixed:
            other = [name for name in other if name not in self.kinds]
        if other:
            pairs = ", ".join(f"{name} {hello[name]}, not {self.expected[name]}" for name in other)
            curable = set(other) <= set(self.kinds)
            advice = "or give --mixed-hardware" if curable else "and install the same everywhere"
            raise SettingError(f"node {node} has {pairs}: its results may differ. Leave it out, {advice}")
