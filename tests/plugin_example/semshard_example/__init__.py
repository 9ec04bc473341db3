"""One source, one method and one countermeasure for semshard: an example of a package that adds to it."""
