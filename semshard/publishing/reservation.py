"""What a reservation of rights says, and what a host adds so that it is found without opening a picture.

The reservation is the owner's statement, a legal marker that keeps nobody from anything. Words and codes are those of
the PLUS vocabulary for data mining (http://ns.useplus.org/LDF/ldf-XMPSpecification), which IPTC uses, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..settings import RESERVATIONS, VOCABULARY
from .statement import Statement

NONE = "none"
_NOTE = "A reservation is a legal marker: it tells what the owner permits, and keeps nobody from anything."
# Crawlers that collect for training, and names that only say whether what was crawled may train.
_CRAWLERS = (
    "GPTBot", "ClaudeBot", "CCBot", "Google-Extended", "Applebot-Extended", "Meta-ExternalAgent", "Bytespider",
    "Amazonbot", "cohere-ai", "img2dataset",
)  # fmt: skip


@dataclass(frozen=True)
class Reservation:
    """A choice of `--reserve`."""

    code: str  # of PLUS
    name: str  # PLUS's words for it
    sentence: str


IN_WORDS = {
    "ai-training": Reservation(
        RESERVATIONS["ai-training"],
        "Prohibited for AI/ML training",
        "The owner reserves the right to use these images for training machine learning models.",
    ),
    "generative-ai": Reservation(
        RESERVATIONS["generative-ai"],
        "Prohibited for Generative AI/ML training",
        "The owner reserves the right to use these images for training generative models.",
    ),
    "all": Reservation(
        RESERVATIONS["all"],
        "Prohibited",
        "The owner reserves the right to use these images for data mining of any kind.",
    ),
}


def reservation(manifest: Mapping[str, Any]) -> Reservation | None:
    """That of a manifest; None where nothing is reserved."""
    return IN_WORDS.get(manifest["settings"].get("reserve", NONE))


def usage_info(manifest: Mapping[str, Any]) -> dict[str, str] | None:
    """The reservation as croissant.json has it; None where nothing is reserved."""
    reserved = reservation(manifest)
    if reserved is None:
        return None
    return {
        "@type": "sc:DefinedTerm", "name": reserved.name, "description": reserved.sentence, "termCode": reserved.code,
        "inDefinedTermSet": VOCABULARY, "sc:url": VOCABULARY + reserved.code,
    }  # fmt: skip


def hosting(manifest: Mapping[str, Any], statement: Statement) -> dict[str, str]:
    """What a host adds: text by the place where it belongs; nothing where nothing is reserved.

    tdmrep.json and tdm-reservation are those of the TDM Reservation Protocol (W3C community group, final report of 10
    May 2024, https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/), robots.txt is RFC 9309. The
    folder's place on the server is that of the owner's `url`.
    """
    if reservation(manifest) is None:
        return {}
    place = urlsplit(statement.url).path.rstrip("/") + "/" if statement.url else "/shards/"
    rule = [{"location": place, "tdm-reservation": 1}]
    agents = "\n".join(f"User-agent: {name}" for name in _CRAWLERS)
    return {
        "/.well-known/tdmrep.json": json.dumps(rule, indent=2) + "\n",
        "/robots.txt": f"{agents}\nDisallow: {place}\n",
        "HTTP headers": "tdm-reservation: 1\nX-Robots-Tag: noai, noimageai\n",
    }


def remarks(manifest: Mapping[str, Any], statement: Statement) -> list[str]:
    """What to know about the reservation, or how to make one."""
    reserved = manifest["settings"].get("reserve", NONE)
    if reserved == NONE:
        return ["Nothing is reserved. protect --reserve ai-training, generative-ai or all makes a reservation."]
    notes = [_NOTE, "Only who runs a server can add these; on the Hugging Face Hub card and images must do."]
    if not statement.url:
        notes.append("/shards/ stands for the folder's place on the server; card --url sets it.")
    if reserved != "all":
        notes.append(
            "tdm-reservation knows data mining as a whole only, and robots.txt crawlers by name: both say more than "
            f"--reserve {reserved}. Add a tdm-policy that permits the rest, or leave tdmrep.json out."
        )
    return [*notes, "The list of crawlers is short and grows old; noai and noimageai are not a standard."]
