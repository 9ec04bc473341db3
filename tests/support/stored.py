"""Runs into an object store."""

import semshard
from semshard.storage import open_place
from tests.support.runs import TINY

_OWN = {"run.json", "index.json", "parts.json", "lock"}  # with the path of the source, or of parts or of folders alone


def objects(where):
    """The bytes of all objects below a URL, or of all files of a folder, by name."""
    place = open_place(where)
    return {entry.name: place.get(entry.name) for entry in place.list()}


def private(where):
    """The same of a ledger, but for what differs between equal runs."""
    return {name: data for name, data in objects(where).items() if name not in _OWN}


def protect(home, out, **options):
    """Protect home/images, with the settings TINY and those that are given."""
    return semshard.protect(home / "images", out, **(TINY | options))
