from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from abaxus_core.domain.audit_seals import (
    FIRST,
    GENESIS,
    Head,
    Link,
    Seal,
    SealedEntry,
    entry_hash,
    follow,
    seal_after,
)
from abaxus_core.domain.instants import microseconds
from tests.unit.domain.samples import at

NOON_US = microseconds(at("2026-04-15T12:00"))


def entry(no: int = 1, **fields: Any) -> SealedEntry:
    given: dict[str, Any] = {
        "no": no,
        "id": f"aud_{no}",
        "at_us": NOON_US,
        "actor": "key_1",
        "action": "invoice.issued",
        "object_type": "invoice",
        "object_id": "inv_1",
        "data": '{"total": 15775}',
    }
    return SealedEntry(**given | fields)


ENTRIES = (entry(1), entry(2), entry(4))
SEAL = seal_after(None, ENTRIES, NOON_US)
NEXT = seal_after(Head(seal_no=1, hash=SEAL.hash), [entry(3), entry(5)], NOON_US)


def found(
    seal: Seal, entries: Sequence[SealedEntry] = ENTRIES, link: Link = FIRST
) -> list[tuple[str, str, str]]:
    findings, _ = follow(seal, {one.no: one for one in entries}, link)
    assert {finding.invariant for finding in findings} <= {"audit_chain_whole"}
    return [(finding.where, finding.expected, finding.found) for finding in findings]


def test_hashes_never_change() -> None:
    """The values are from a few lines of Python that know the rule and none of our code."""
    assert (
        entry_hash(entry()).hex()
        == "807db797dddd832c493d196ea44839368d46a61295d2c10bdc762dcd16e66b1e"
    )
    assert SEAL.hash.hex() == "49cfa53ca2ebd6e5437e90e5310661b09db7ec0073a6b6133e732b8ececcd556"
    assert NEXT.hash.hex() == "0fb5b6aff5339a9e18a7bbc5373e93096586a71acbf6d23b0cdcc381ab490852"


@pytest.mark.parametrize("field", asdict(entry()))
def test_every_column_counts(field: str) -> None:
    value = getattr(entry(), field)
    changed = value + 1 if isinstance(value, int) else f"{value} "
    assert entry_hash(replace(entry(), **{field: changed})) != entry_hash(entry())


TEXTS = ("id", "actor", "action", "object_type", "object_id", "data")


@pytest.mark.parametrize(("left", "right"), list(pairwise(TEXTS)))
def test_a_byte_moved_to_the_neighbour_counts(left: str, right: str) -> None:
    one = entry(**{left: "ab", right: "c"})
    other = entry(**{left: "a", right: "bc"})
    assert entry_hash(one) != entry_hash(other)


def test_lengths_are_in_bytes_and_texts_in_utf_8() -> None:
    assert entry_hash(entry(actor="ä", action="")) != entry_hash(entry(actor="", action="ä"))


def test_instants_on_either_side_of_the_epoch_count() -> None:
    around = {entry_hash(entry(at_us=us)) for us in (-1, 0, 1, -(2**63), 2**63 - 1)}
    assert len(around) == 5


def test_a_seal_follows_the_one_before() -> None:
    assert (SEAL.no, SEAL.previous_hash, SEAL.audit_nos) == (1, GENESIS, (1, 2, 4))
    assert (NEXT.no, NEXT.previous_hash, NEXT.audit_nos) == (2, SEAL.hash, (3, 5))


@pytest.mark.parametrize(
    "other",
    [
        seal_after(None, ENTRIES[::-1], NOON_US),
        seal_after(None, ENTRIES[:2], NOON_US),
        seal_after(None, ENTRIES, NOON_US + 1),
        seal_after(Head(seal_no=1, hash=GENESIS), ENTRIES, NOON_US),
        seal_after(Head(seal_no=0, hash=b"\1" * 32), ENTRIES, NOON_US),
    ],
    ids=["order", "entries", "instant", "number", "previous"],
)
def test_whatever_a_seal_says_counts(other: Seal) -> None:
    assert other.hash != SEAL.hash


def test_a_whole_chain_has_no_findings() -> None:
    findings, link = follow(SEAL, {one.no: one for one in ENTRIES}, FIRST)
    assert (findings, link) == ([], Link(no=2, hashes=(SEAL.hash,)))
    assert found(NEXT, [entry(3), entry(5)], link) == []


def test_an_edited_entry_is_named() -> None:
    edited = entry(2, data='{"total": 1}')
    assert found(SEAL, [ENTRIES[0], edited, ENTRIES[2]]) == [
        (
            "audit entry aud_2 (number 2) in seal 1",
            f"hash {SEAL.entry_hashes[1].hex()}",
            f"hash {entry_hash(edited).hex()}",
        )
    ]


def test_a_lost_entry_is_named() -> None:
    kept = f"hash {SEAL.entry_hashes[2].hex()}"
    assert found(SEAL, ENTRIES[:2]) == [("audit entry 4 in seal 1", kept, "gone")]


def test_a_number_that_comes_in_with_an_empty_hash_is_named() -> None:
    """It leaves the bytes as they were that the seal's hash is over."""
    first, *rest = SEAL.entry_hashes
    edited = replace(SEAL, entry_count=4, audit_nos=(1, 3, 2, 4), entry_hashes=(first, b"", *rest))
    assert found(edited) == [("audit entry 3 in seal 1", "hash ", "gone")]


def test_hashes_run_together_do_not_drop_an_entry() -> None:
    first, second, third = SEAL.entry_hashes
    edited = replace(SEAL, entry_count=2, audit_nos=(1, 4), entry_hashes=(first + second, third))
    assert [where for where, _, _ in found(edited)] == ["audit entry aud_1 (number 1) in seal 1"]


def test_an_edited_hash_of_an_entry_is_told_from_an_edited_entry() -> None:
    forged = b"\1" * 32
    hashes = (SEAL.entry_hashes[0], forged, SEAL.entry_hashes[2])
    assert found(replace(SEAL, entry_hashes=hashes)) == [
        ("hash that seal 1 keeps of audit entry 2", SEAL.entry_hashes[1].hex(), forged.hex())
    ]


def test_an_entry_edited_with_its_hash_is_found_by_its_seal() -> None:
    edited = entry(2, data='{"total": 1}')
    forged = seal_after(None, [ENTRIES[0], edited, ENTRIES[2]], NOON_US)
    kept = replace(forged, hash=SEAL.hash)
    assert found(kept, [ENTRIES[0], edited, ENTRIES[2]]) == [
        ("hash of seal 1, over 3 of audit entries 1 to 4", forged.hash.hex(), SEAL.hash.hex())
    ]


@pytest.mark.parametrize(
    "change",
    [{"hash": b"\1" * 32}, {"sealed_at_us": NOON_US + 1}],
    ids=["hash", "instant"],
)
def test_an_edited_seal_is_found_once(change: dict[str, Any]) -> None:
    edited = replace(SEAL, **change)
    findings, link = follow(edited, {one.no: one for one in ENTRIES}, FIRST)
    assert [finding.where for finding in findings] == [
        "hash of seal 1, over 3 of audit entries 1 to 4"
    ]
    assert found(NEXT, [entry(3), entry(5)], link) == []


def test_an_edited_previous_hash_is_found_once() -> None:
    forged = b"\1" * 32
    link = Link(no=2, hashes=(SEAL.hash,))
    assert found(replace(NEXT, previous_hash=forged), [entry(3), entry(5)], link) == [
        ("previous hash of seal 2", SEAL.hash.hex(), forged.hex())
    ]


def test_a_seal_forged_whole_is_found_by_the_next_one() -> None:
    edited = [ENTRIES[0], entry(2, data="{}"), ENTRIES[2]]
    forged = seal_after(None, edited, NOON_US)
    findings, link = follow(forged, {one.no: one for one in edited}, FIRST)
    assert findings == []
    assert found(NEXT, [entry(3), entry(5)], link) == [
        ("previous hash of seal 2", forged.hash.hex(), SEAL.hash.hex())
    ]


def test_lost_seals_are_named_and_the_next_one_is_taken_at_its_word() -> None:
    after = seal_after(Head(seal_no=4, hash=b"\1" * 32), [entry(9)], NOON_US)
    assert found(after, [entry(9)], Link(no=2, hashes=(SEAL.hash,))) == [
        ("seals 2 to 4", "in the chain", "gone")
    ]
    assert found(NEXT, [entry(3), entry(5)]) == [("seal 1", "in the chain", "gone")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entry_count": 2}, "2, with 3 numbers"),
        ({"audit_nos": (1, 2, 4, 7)}, "3, with 4 numbers"),
    ],
)
def test_a_seal_counts_as_many_numbers_as_hashes(change: dict[str, Any], said: str) -> None:
    assert found(replace(SEAL, **change), [*ENTRIES, entry(7)]) == [
        ("count of seal 1", "3 entries, as many as it has hashes", said)
    ]
