"""README.md: the data card, made from card.md.j2 of the manifest, what the owner states, and the published verdict."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from ..atomic import json_bytes
from ..settings import levels, parse_radius
from ..shards import Fields, pattern_of
from ..shards.manifest import CARD_REVISION
from ..shards.manifest import FILE as MANIFEST
from . import statement as owner
from . import verdict as verification
from . import words
from .hub import header
from .reservation import reservation
from .statement import Statement

FILE = "README.md"
MARK = "<!-- written by semshard card, revision"
LISTED = 60  # classes that the card names


def readme(
    manifest: Mapping[str, Any], manifest_sha256: str, statement: Statement, verified: Mapping[str, Any] | None
) -> str:
    """The text of the card; equal arguments give equal text."""
    fields, title, stated = Fields.of(manifest), words.title(manifest, statement), statement != Statement()
    made_from = {MANIFEST: manifest_sha256}
    for name, value in ((owner.FILE, stated and statement.to_json()), (verification.FILE, verified)):
        if value:
            made_from[name] = hashlib.sha256(json_bytes(value)).hexdigest()
    page: str = _template().render(
        header=header(manifest, title, statement),
        title=title,
        summary=words.summary(manifest),
        statement=statement,
        stated=stated,
        manifest=manifest,
        classes=_listed(manifest["classes"]),
        budget_levels=levels(parse_radius(manifest["settings"]["rho_u"])),
        licence=_licence(statement),
        noise=words.noise(manifest),
        budget=words.budget(manifest),
        preprocessing=words.preprocessing(manifest),
        metadata=words.metadata(manifest),
        limits=words.limits(manifest),
        verified=verified,
        attackers=sorted(verified["attackers"], key=lambda each: -each["best"]["protected"]) if verified else [],
        reserved=reservation(manifest),
        folder=_folder(statement.url),
        columns=", ".join(f"`{name}`" for name in (fields.image, "cls", fields.about, *fields.carried)),
        tars=pattern_of(len(manifest["shards"])),
        image=fields.image,
        entries=", ".join(f"`KEY.{name}`" for name in (*fields.own, *fields.carried)),
    )
    return re.sub(r"\n{3,}", "\n\n", page).rstrip("\n") + "\n\n" + ending(made_from)


def ending(made_from: Mapping[str, str]) -> str:
    """The last lines of a card: the files that it is made from, with their SHA-256, and the mark of its maker."""
    lines = [f"- {name}: SHA-256 `{sha256}`" for name, sha256 in made_from.items()]
    return "\n".join([*lines, "", f"{MARK} {CARD_REVISION} -->", ""])


def revision_of(text: bytes) -> int | None:
    """The revision of the card with that text; None where it has no mark."""
    found = re.search(re.escape(MARK.encode()) + rb" (\d+) -->", text)
    return int(found[1]) if found else None


@functools.cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    # Markdown, whose own marks the filter `text` escapes.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701
    environment.filters |= {"text": as_text, "percent": _percent, "share": _share}
    return environment.from_string(resources.files(__package__).joinpath("card.md.j2").read_text())


def as_text(words: str) -> str:
    """A text of others as Markdown shows it: as it is, on one line."""
    plain = "".join(each if each.isprintable() else " " for each in words)
    return re.sub(r"([\\`*_\[\]<>|#&~$])", r"\\\1", plain)


def _percent(share: Any) -> str:
    return f"{100 * share:.1f}" if isinstance(share, int | float) else "–"


def _share(share: Any) -> str:
    return f"{share:.0%}".replace("%", " %") if isinstance(share, int | float) else "–"


def _listed(classes: list[str]) -> str:
    names = ", ".join(map(as_text, classes[:LISTED]))
    return f"{names} and {len(classes) - LISTED:,} more" if len(classes) > LISTED else names


def _licence(statement: Statement) -> str:
    if not statement.licence:
        return "none is stated; without one, only what the law permits is permitted"
    name = as_text(statement.licence)
    return f"[{name}](<{statement.licence_url}>)" if statement.licence_url else name


def _folder(url: str) -> str:
    """What `load_dataset` is given: the name on the Hub, if that is where the folder is."""
    on_hub = re.fullmatch(r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)/?", url)
    return on_hub[1] if on_hub else "PATH/OF/THIS/FOLDER"
