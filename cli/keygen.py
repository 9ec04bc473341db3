"""semshard keygen FILE"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .command import errors_in_one_line
from .options import Json, PassphraseFile
from .passphrase import ask_passphrase


@errors_in_one_line
def keygen(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; the public one goes to FILE.pub.")
    ],
    *,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Make a key pair to sign shards with.

    Ed25519. The private key is encrypted with a passphrase; no file is overwritten.
    """
    import semshard

    from . import show

    pair = semshard.keygen(file, ask_passphrase(passphrase_file, new=True))
    if json:
        show.as_json(asdict(pair))
    else:
        show.facts(
            "key pair", [("private, to keep", pair.private), ("public, to give away", pair.public), ("id", pair.keyid)]
        )
