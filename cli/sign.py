"""semshard sign SHARDS --key FILE"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .command import errors_in_one_line
from .options import Json, PassphraseFile, ShardsFolder
from .passphrase import ask_passphrase


@errors_in_one_line
def sign(
    shards: ShardsFolder,
    *,
    key: Annotated[Path, typer.Option(metavar="FILE", help="The private key, which keygen made.")],
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Sign finished shards: who made them, and how.

    Writes manifest.dsse.json into the folder, in place of an earlier one.
    """
    import semshard

    from . import show
    from .watch import Watch

    passphrase = ask_passphrase(passphrase_file)
    with Watch() as watch:
        result = semshard.sign(shards, key, passphrase, progress=watch)
    if json:
        show.as_json(asdict(result))
    else:
        show.facts(
            "signed",
            [
                ("files", f"{result.files:,}"),
                ("key", result.keyid),
                ("source", result.source or "not named: there is no ledger"),
                ("signature", result.signature),
            ],
        )
