"""The files of a report: report.json, the attestation that names it, and the page that shows it."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._version import __version__
from ..atomic import atomic_write, write_json
from ..cores import allowed
from ..engine import Runtime
from ..inspection.preview import preview_rows
from ..inspection.remainder import Remainder
from ..inspection.similarity import linf, psnr, ssim
from ..settings import to_json
from ..shards.attestation import FILE as ATTESTATION
from ..shards.attestation import statement
from .inputs import VerifyInputs
from .report import Picture, write_report
from .results import VerifyResult

SCHEMA_VERSION = 7  # of report.json
SHOWN, MEASURED = 8, 2000  # samples in the report's pictures and in its histograms
WINDOW = 384  # pixels a side of a report's pictures, at most
_MEASURES = {"linf": linf, "psnr": psnr, "ssim": ssim}


def write_report_files(result: VerifyResult, inputs: VerifyInputs, seconds: float) -> None:
    """Write report.json, the attestation and report.html into the folder of the report."""
    content, pictures = _content(result, inputs, seconds), _pictures(inputs)
    data = json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"
    with atomic_write(inputs.folder / "report.json") as file:
        file.write(data)
    write_json(inputs.folder / ATTESTATION, statement(content, inputs.manifest_sha256, data))
    write_report(inputs.folder / "report.html", content, inputs.shards.manifest, pictures)


def _content(result: VerifyResult, inputs: VerifyInputs, seconds: float) -> dict[str, Any]:
    """What report.json holds: how it was measured, then the result."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "semshard", "version": __version__},
        "manifest_sha256": inputs.manifest_sha256,
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(seconds, 1),
        "settings": to_json(inputs.trainer.config),
        "hardware": _hardware(inputs.trainer.runtime),
        "classes": list(inputs.shards.classes),
        **_noise(inputs),
        **{name: value for name, value in result.to_json().items() if name != "report"},
    }


def _hardware(runtime: Runtime) -> dict[str, Any]:
    on_gpu = runtime.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(runtime.device) if on_gpu else platform.machine(),
        "threads": allowed(),
        "torch": torch.__version__,
    }


def _noise(inputs: VerifyInputs) -> dict[str, Any]:
    """How far the protected samples are from their originals, null for a PSNR that is infinite; and what simple filters
    leave of that.
    """
    remainder = Remainder(inputs.shards.manifest["settings"], MEASURED)
    rows = []
    for number, pair in enumerate(inputs.dataset.pairs(MEASURED)):
        rows.append([measure(*pair) for measure in _MEASURES.values()])
        remainder.add(*pair, number)
    columns = zip(_MEASURES, zip(*rows, strict=True), strict=True)
    values = {
        name: {"values": [round(value, 4) if np.isfinite(value) else None for value in values]}
        for name, values in columns
    }
    return {"noise": values, "remainder": remainder.to_json()}


def _pictures(inputs: VerifyInputs) -> list[Picture]:
    """A few samples beside their originals, where these can be had."""
    rows = preview_rows(inputs.shards, SHOWN, inputs.originals)
    return [Picture(name, _middle(clean), _middle(image)) for name, clean, image in rows if clean is not None]


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture, at most `WINDOW` pixels a side: what a page shows of a photograph."""
    top, left = (max(0, (side - WINDOW) // 2) for side in pixels.shape[:2])
    return pixels[top : top + WINDOW, left : left + WINDOW]
