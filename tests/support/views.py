"""Settings with certain views."""

from semshard.settings import protect_config


def views_of(size=(32, 32), **given):
    """The settings of preset quick for images of `size`, with those that are given."""
    return protect_config("quick", size, "float32", given)
