"""Entries of a tar file in ustar format (POSIX.1-1988), the same for every writer: mtime 0, no owner, mode 0644.

The standard library's `tarfile` gives the same bytes, but takes as long for three small entries as the encoder for
their picture.
"""

from __future__ import annotations

BLOCK = 512
RECORD = 20 * BLOCK
_BEFORE = b"0000644\0" + b"0000000\0" * 2  # mode, owner, group
_AFTER = b"0" + bytes(100) + b"ustar\x0000" + bytes(64 + 16 + 167)  # a file; no link, owner, device
_MTIME = b"00000000000\0"
_FIXED = sum(_BEFORE) + sum(_MTIME) + 8 * ord(" ") + sum(_AFTER)  # of the checksum, whose own field counts as blanks
_FORM = b"%b" + _BEFORE + b"%b" + _MTIME + b"%06o\0 " + _AFTER
_PADDING = bytes(BLOCK)


def entry(name: str, data: bytes) -> bytes:
    """Header and padded data of a file. `name`: ASCII, at most 100 characters; `data`: less than 8 GiB."""
    return b"%b%b%b" % (header(name, len(data)), data, padding(len(data)))


def header(name: str, length: int) -> bytes:
    """The header of a file of so many bytes."""
    path, size = name.encode("ascii"), b"%011o\0" % length
    if len(path) > 100 or len(size) > 12:
        raise ValueError(f"{name!r} with {length} bytes does not fit into an ustar header")
    return _FORM % (path.ljust(100, b"\0"), size, _FIXED + sum(path + size))


def padding(length: int) -> bytes:
    """What follows the data of a file of so many bytes."""
    return _PADDING[: -length % BLOCK]


def end(written: int) -> bytes:
    """The end of a tar of `written` bytes: two empty blocks, padded to a whole record."""
    return bytes(2 * BLOCK + -(written + 2 * BLOCK) % RECORD)
