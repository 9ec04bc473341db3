"""Weights on disk: safetensors, so that loading them runs no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ..atomic import atomic_write
from ..errors import LedgerError

_KEY = "semshard"  # one metadata entry only: safetensors keeps several in no fixed order


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors and a JSON description atomically; equal input gives equal bytes."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as file:
        file.write(save(plain, {_KEY: json.dumps(about, sort_keys=True)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """`save_tensors` undone. Raises `LedgerError` where the file is missing or is not one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise LedgerError(f"{path} holds no weights written by semshard ({error})") from None


def tensors_in(data: bytes) -> dict[str, Tensor]:
    """The tensors of a file's bytes. Raises `LedgerError` where they are not those of such a file."""
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise LedgerError(f"these bytes are no weights written by semshard ({error})") from None


def bfloat16_where_exact(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values, as bfloat16 where that loses no bit."""
    short = {name: value.to(torch.bfloat16) for name, value in tensors.items() if value.dtype == torch.float32}
    return tensors | {name: value for name, value in short.items() if torch.equal(value.float(), tensors[name])}
