"""Small runs of protect."""

import semshard
from semshard.progress import silent
from semshard.protection.protect import run_protect
from semshard.protection.request import Request
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
