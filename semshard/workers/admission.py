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


def versions() -> Hello:
    """Versions of what decodes and encodes pictures."""
    return {
        "semshard": __version__,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "pillow": PIL.__version__,
    }


@contextmanager
def nonce_at(path: Path) -> Iterator[str]:
    """A random text in a file, as long as the block lasts: who reads it there sees the same folder."""
    text = secrets.token_hex(16)
    with atomic_write(path) as file:
        file.write(text.encode())
    try:
        yield text
    finally:
        path.unlink(missing_ok=True)


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
