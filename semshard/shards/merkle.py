"""A Merkle tree over records: one digest vouches for all, and a short proof shows that one of them is among them.

RFC 6962, section 2.1 (and RFC 9162, sections 2.1.1 to 2.1.3): SHA-256, a leaf is the hash of 0x00 and the record, a
node that of 0x01 and its two children, and of n leaves the left child has the largest power of two below n. So the
roots of groups of 2^k neighbouring leaves are nodes of the tree, and the tree over them has the same root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()  # the root of no records


def leaf(record: bytes) -> bytes:
    """The hash of a record."""
    return hashlib.sha256(b"\x00" + record).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over hashes of leaves, or of groups of 2^k leaves of which only the last may have fewer."""
    waiting = list[tuple[int, bytes]]()  # roots of complete trees from left to right, each with its height
    for each in leaves:
        height = 0
        while waiting and waiting[-1][0] == height:
            each = _node(waiting.pop()[1], each)
            height += 1
        waiting.append((height, each))
    if not waiting:
        return EMPTY
    _, found = waiting.pop()
    while waiting:
        found = _node(waiting.pop()[1], found)
    return found


def proof(leaves: Sequence[bytes], number: int) -> list[bytes]:
    """The hashes that lead from leaf `number` to the root: those of its neighbours, from below."""
    path, level = list[bytes](), list(leaves)
    while len(level) > 1:
        if number ^ 1 < len(level):
            path.append(level[number ^ 1])
        pairs = range(0, len(level), 2)
        level = [_node(level[at], level[at + 1]) if at + 1 < len(level) else level[at] for at in pairs]
        number //= 2
    return path


def leads_to(leaf: bytes, number: int, leaves: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a `path` of hashes leads from leaf `number` of so many to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= number < leaves:
        return False
    last, found = leaves - 1, leaf
    for each in path:
        if last == 0:
            return False
        if number % 2 or number == last:
            found = _node(each, found)
            while number and not number % 2:
                number, last = number // 2, last // 2
        else:
            found = _node(found, each)
        number, last = number // 2, last // 2
    return last == 0 and found == root
