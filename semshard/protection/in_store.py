"""How an output on an object store is opened: what is not possible there, its ledger, its temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError, SemshardError, SettingError
from ..progress import remarks
from ..storage import is_remote, open_place
from ..workers import WorkerOptions
from .request import Request
from .stored_output import StoredOutput


def check_place(out: str | Path, ledger: str | Path | None, asked: Mapping[str, bool], workers: WorkerOptions) -> None:
    """Raise `OutputError` for what is asked for, by the names of options, and is not possible in a store; and
    `SettingError` for a ledger that is not beside its folder.
    """
    if not is_remote(out):
        if ledger is not None:
            raise SettingError("--ledger is for --out s3://…, gs://… or az://…; that of a folder is always beside it")
        return
    place = open_place(out).url
    for option in (option for option, is_asked in asked.items() if is_asked):
        raise OutputError(f"{option} is not possible in an object store: do it in a folder, and copy that to {place}")
    if workers.engine == "ray":
        raise OutputError(
            f"--engine ray needs a folder that all nodes share; for {place} start the same command with --part I/N on "
            "each machine"
        )


@contextmanager
def in_store(out: str, ledger: str | Path | None, request: Request) -> Iterator[StoredOutput]:
    """The output at a URL, for this call alone. Its errors name the store, not the temporary folder. Raises
    `OutputError`, `StorageError`, `UsageError`.
    """
    remark = remarks(request.progress)
    shards = open_place(out, remark)
    where = ledger_beside(shards.url) if ledger is None else ledger
    if where is None:
        raise OutputError(
            f"{shards.url} is a whole bucket, beside which there is no room for the ledger; say where with --ledger"
        )
    private = open_place(where, remark)
    _refuse_in_each_other(shards.url, private.url)
    with tempfile.TemporaryDirectory(prefix="semshard-") as home:  # mode 0700
        output = StoredOutput(Path(home), shards, private, request.progress)
        try:
            output.fetch(networks=not request.finish)
            yield output
        except SemshardError as error:
            error.args = (output.in_words(str(error)),)
            raise


def ledger_beside(url: str) -> str | None:
    """Where the ledger of shards at a URL is unless another place is given; None beside a whole bucket."""
    return f"{url}.ledger" if url.count("/") >= 3 else None


def _refuse_in_each_other(shards: str, ledger: str) -> None:
    if f"{shards}/".startswith(f"{ledger}/") or f"{ledger}/".startswith(f"{shards}/"):
        raise OutputError(
            f"the ledger {ledger} is private, and must lie outside of --out {shards}, as must --out of it"
        )
