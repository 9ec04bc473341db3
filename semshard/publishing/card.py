"""The story of card: a finished folder → what the owner states, and a verdict → README.md and croissant.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..shards import manifest_sha256, read_manifest
from ..storage import local_path
from .describe import FILES, write_description
from .reservation import NONE, hosting, remarks
from .statement import read_statement
from .verdict import read_verdict, verdict_of


@dataclass(frozen=True)
class CardResult:
    """What a card says, and what a host adds to it."""

    files: list[str]  # that describe the folder
    title: str  # as stated; empty where it is not, like the licence
    licence: str
    verdict: str | None  # None where none was added
    reserve: str  # none | ai-training | generative-ai | all
    hosting: dict[str, str]  # text for a server by the place where it belongs; empty where nothing is reserved
    remarks: list[str]  # about the reservation

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def card(
    shards: str | Path,
    *,
    report: str | Path | None = None,
    title: str | None = None,
    licence: str | None = None,
    creator: str | None = None,
    url: str | None = None,
    date: str | None = None,
) -> CardResult:
    """Write README.md and croissant.json into the finished folder `shards`; manifest and shards stay as they are.

    `report` is the folder that `verify` wrote for these shards: its verdict and the accuracies of its attackers are
    published, none of its pictures. `title`, `licence` (an identifier of SPDX, or the address of the terms), `creator`,
    `url` (where the folder is published) and `date` (of publication, YYYY-MM-DD) are what the owner states; what is not
    given stays, and an empty text takes it back.

    Raises `ShardError` where there is no finished folder, `UsageError` where the report is one of other shards,
    `SettingError`, and `OutputError` where README.md is somebody else's.
    """
    directory = local_path(shards, "shards")
    manifest = read_manifest(directory)
    digest = manifest_sha256(directory)
    given = {"title": title, "licence": licence, "creator": creator, "url": url, "date": date}
    write_description(directory, given, verdict_of(Path(report), digest) if report is not None else None)
    statement, verified = read_statement(directory), read_verdict(directory, digest)
    return CardResult(
        files=[name for name in FILES if (directory / name).exists()],
        title=statement.title,
        licence=statement.licence,
        verdict=verified["verdict"]["verdict"] if verified else None,
        reserve=manifest["settings"].get("reserve", NONE),
        hosting=hosting(manifest, statement),
        remarks=remarks(manifest, statement),
    )
