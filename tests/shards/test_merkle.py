"""The Merkle tree against its plain definition in RFC 6962, section 2.1, and the values of Certificate Transparency."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from semshard.shards import merkle

RECORDS = st.lists(st.binary(max_size=8), max_size=70)
# The inputs and roots that the tests of the reference implementation have.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def plain(records):
    """MTH of RFC 6962, as it is written there."""
    if not records:
        return hashlib.sha256().digest()
    if len(records) == 1:
        return hashlib.sha256(b"\0" + records[0]).digest()
    k = 1
    while 2 * k < len(records):
        k *= 2
    return hashlib.sha256(b"\1" + plain(records[:k]) + plain(records[k:])).digest()


def leaves(records):
    return [merkle.leaf(record) for record in records]


def test_the_known_roots_come_out():
    for count, root in ROOTS.items():
        assert merkle.root(leaves(map(bytes.fromhex, INPUTS[:count]))).hex() == root


@given(RECORDS)
def test_the_root_is_that_of_the_plain_definition(records):
    assert merkle.root(leaves(records)) == plain(records)


@given(RECORDS, st.sampled_from([1, 2, 4, 8, 16]))
def test_roots_of_groups_lead_to_the_same_root_and_the_same_proofs(records, each):
    every = leaves(records)
    groups = [every[at : at + each] for at in range(0, len(every), each)]
    roots = list(map(merkle.root, groups))
    assert merkle.root(roots) == plain(records)
    for number in range(len(every)):
        group, place = divmod(number, each)
        assert merkle.proof(groups[group], place) + merkle.proof(roots, group) == merkle.proof(every, number)


@given(RECORDS.filter(len), st.data())
def test_a_proof_holds_for_its_record_in_its_place_alone(records, data):
    number = data.draw(st.integers(0, len(records) - 1))
    every, root = leaves(records), plain(records)
    path = merkle.proof(every, number)
    assert merkle.leads_to(every[number], number, len(every), path, root)
    assert not merkle.leads_to(merkle.leaf(b"another record"), number, len(every), path, root)
    assert not merkle.leads_to(every[number], number, len(every), [*path, root], root)
    assert not merkle.leads_to(every[number], len(every), len(every), path, root)
    if path:
        assert not merkle.leads_to(every[number], number, len(every), path[:-1], root)
        assert not merkle.leads_to(every[number], number ^ 1, len(every), path, root) or number ^ 1 >= len(every) or (
            every[number] == every[number ^ 1]
        )  # fmt: skip
