"""What the owner states in public about a collection: title, licence, creator, address, date. Kept in card.json.

Nothing of it is in the manifest, so that it can be changed without another manifest: reports and signatures name the
manifest by its digest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from pathlib import Path

from ..atomic import json_bytes
from ..errors import SettingError, ShardError

FILE = "card.json"
SCHEMA_VERSION = 1
LONGEST = 300  # characters
# Identifiers of SPDX (https://spdx.org/licenses) that the Hugging Face Hub has a name for; of these only those that are
# meant for data or pictures, or are common.
_ON_HUB = {
    **{name: name.lower() for name in (
        "CC0-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-2.0",
        "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0",
        "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CDLA-Sharing-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0",
        "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "GPL-3.0", "AGPL-3.0", "Unlicense",
    )},
    "ODbL-1.0": "odbl", "ODC-By-1.0": "odc-by", "PDDL-1.0": "pddl",
}  # fmt: skip
_SPELLED = {name.lower(): name for name in _ON_HUB}


@dataclass(frozen=True)
class Statement:
    """What the owner states; an empty text where nothing is stated. Raises `SettingError` where a text cannot be."""

    title: str = ""  # of the collection
    licence: str = ""  # an identifier of SPDX, or the address of the terms
    creator: str = ""  # the name of a person or an organisation
    url: str = ""  # where the folder is published
    date: str = ""  # of publication, YYYY-MM-DD

    def __post_init__(self) -> None:
        for name, text in asdict(self).items():
            if text != text.strip() or not text.isprintable() or len(text) > LONGEST:
                raise SettingError(f"{name} = {text!r} must be one line of at most {LONGEST} characters")
        object.__setattr__(self, "licence", _SPELLED.get(self.licence.lower(), self.licence))
        if not re.fullmatch(r"|[A-Za-z0-9][A-Za-z0-9.+-]*|https?://[^\s<>\"]+", self.licence):
            raise SettingError(
                f"licence = {self.licence!r} is neither an identifier of https://spdx.org/licenses, like CC-BY-4.0, "
                "nor the address of the terms"
            )
        if not re.fullmatch(r"|https?://[^\s<>\"]+", self.url):
            raise SettingError(f"url = {self.url!r} is not the address of a web page")
        if self.date and not _is_date(self.date):
            raise SettingError(f"date = {self.date!r} is not a date like 2026-01-31")

    @property
    def licence_url(self) -> str:
        """Where the terms can be read; empty where that is not known."""
        if not self.licence or self.licence.startswith(("http", "LicenseRef-")):
            return self.licence if self.licence.startswith("http") else ""
        return f"https://spdx.org/licenses/{self.licence}.html"

    @property
    def licence_on_hub(self) -> str:
        """The name that the Hugging Face Hub has for the licence; empty where it has none."""
        return _ON_HUB.get(self.licence, "")

    def updated(self, given: Mapping[str, str | None]) -> Statement:
        """With the texts that are given in place of the earlier ones; an empty one takes the earlier one back."""
        return replace(self, **{name: text for name, text in given.items() if text is not None})

    def to_json(self) -> dict[str, object]:
        """As in card.json."""
        stated = {name: text for name, text in asdict(self).items() if text}
        return {"schema_version": SCHEMA_VERSION, "tool": "semshard", **stated}


def read_statement(directory: Path) -> Statement:
    """What card.json says; nothing where there is none. Raises `ShardError` where it is damaged."""
    path = directory / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Statement()
    try:
        values = json.loads(data)
        known = {each.name for each in fields(Statement)}
        statement = Statement(**{name: str(value) for name, value in values.items() if name in known})
    except (ValueError, AttributeError, SettingError) as error:
        raise ShardError(f"{path} is damaged ({error}); delete it, and state it again by semshard card") from None
    if json_bytes(statement.to_json()) != data:
        raise ShardError(f"{path} is not what semshard writes; delete it, and state it again by semshard card")
    return statement


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
