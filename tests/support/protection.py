"""A small run of protect."""

import semshard
from tests.support.runs import TINY


def protect(home, **options):
    """Protect home/images into home/shards, with the settings TINY and those that are given."""
    return semshard.protect(home / "images", home / "shards", **(TINY | options))
