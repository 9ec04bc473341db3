"""semshard audit SHARDS"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from .command import errors_in_one_line
from .event_log import logged, record_result
from .options import Clean, Json, LedgerPlace, ShardsPlace
from .workers import FOR_SHARDS, worker_options

if TYPE_CHECKING:
    from semshard import AuditResult

_SHOWN = 50
_SIGNATURES = {
    "none": "none",
    "not checked": "signed, not checked: give --key with the public key of whom you trust",
    "valid": "valid, of manifest and shards; licence, creator and verdict are not signed",
    "invalid": "not valid",
}


@errors_in_one_line
@logged
@worker_options("gpus_per_worker", *FOR_SHARDS)
def audit(
    shards: ShardsPlace,
    *,
    clean: Clean = None,
    ledger: LedgerPlace = None,
    report: Annotated[
        Optional[Path], typer.Option(help="A folder that verify wrote: check that it is whole and of these shards.")
    ] = None,
    key: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="A public key: check that the shards are signed with it.")
    ] = None,
    part: Annotated[
        Optional[str], typer.Option(metavar="I/N", help="Audit one of N equal parts of the shards, I from 1 to N.")
    ] = None,
    only: Annotated[
        Optional[str],
        typer.Option("--shards", metavar="A-B", help="Audit the shards with these numbers, like 100-199, or one."),
    ] = None,
    workers: Any,
    json: Json = False,
) -> None:
    """Recompute every promise about shards from their bytes.

    Exits with 1 if one is broken. Of a part it says nothing that needs all shards.
    """
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        result = semshard.audit(
            shards,
            clean=clean,
            ledger=ledger,
            report=report,
            key=key,
            part=part,
            only=only,
            workers=workers,
            progress=watch,
        )
    record_result(result.to_json)
    if json:
        show.as_json(result.to_json())
    else:
        _show(result)
    if not result.ok:
        raise typer.Exit(1)


def _show(result: AuditResult) -> None:
    from semshard.inspection.remainder import sentence

    from . import show

    for failure in result.failures[:_SHOWN]:
        where = f"{failure.where} {failure.key}".strip()
        show.console.print(f"{where}: {failure.problem}", soft_wrap=True)
    if len(result.failures) > _SHOWN:
        show.console.print(f"… and {len(result.failures) - _SHOWN:,} more (--json lists all)")
    against = f"{result.compared:,} against their originals" if result.compared else "none against its original"
    noise = "unknown without the originals" if result.linf_max is None else f"{result.linf_max}/255"
    what = "audit of a part" if result.part else "audit"
    show.facts(
        f"{what} passed" if result.ok else f"{what} failed: {len(result.failures):,} broken promises",
        [
            *([("part", _part(result.part))] if result.part else []),
            ("checked", f"{result.checked:,} samples in {result.shards:,} shards, {against}"),
            ("largest noise found", noise),
            ("signature", _SIGNATURES[result.signature]),
            *([("what filters leave", sentence(result.remainder))] if result.remainder else []),
        ],
    )


def _part(part: dict[str, int]) -> str:
    return f"shards {part['first']} to {part['last']} of {part['of']:,}; the others were not read"
