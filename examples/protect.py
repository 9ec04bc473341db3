"""Protect a folder of class folders from Python, audit it, and look at it.

python examples/protect.py images shards
"""

import sys

import semshard


def main(source: str, out: str, **settings: object) -> None:
    result = semshard.protect(source, out, **settings)
    print(f"{result.samples} images in {result.shards} shards, none changed by more than {result.linf_max}/255")
    audit = semshard.audit(out)
    print("audit passed" if audit.ok else audit.failures)
    semshard.preview(out, f"{out}.preview.png")


if __name__ == "__main__":
    main(*sys.argv[1:3])
