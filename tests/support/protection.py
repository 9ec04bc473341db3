"""Small runs of protect."""

import semshard
from semshard.progress import silent
from semshard.protection.protect import run_protect
from semshard.protection.request import Request
from semshard.shards import Ledger, ledger_path
from semshard.sources import open_source, scan
from semshard.sources.collection import Cache
from tests.support.runs import TINY


def protect(home, **options):
    """Protect home/images into home/shards, with the settings TINY and those that are given."""
    return semshard.protect(home / "images", home / "shards", **(TINY | options))


def protect_from_disk(images, out, progress=silent, **settings):
    """A run that reads every image from its file again, as one does whose images do not fit into the cache."""
    given = TINY | settings
    request = Request(images, given.pop("preset"), max_rejects=0.1, progress=progress, settings=given)
    collection = scan(open_source(images))
    collection.cache = Cache(0)
    return run_protect(request, out, collection)


def with_two_late_rejects(home, images):
    """A run two of whose inputs could not be read when their shard was made; the number of this shard, their names."""
    protect(home, method="sc", until="surrogate")
    ledger = Ledger(ledger_path(home / "shards"))
    names = [ledger.rows([number])[0].source for number in ledger.index.shard(1)[[11, 3]]]
    kept = [(images / name).read_bytes() for name in names]
    for name in names:
        (images / name).unlink()
    protect(home, method="sc", max_rejects=0.1, part="1/1")
    for name, data in zip(names, kept, strict=True):
        (images / name).write_bytes(data)
    assert protect(home, method="sc", max_rejects=0.1, finish=True).rejected == 2
    return 1, names
