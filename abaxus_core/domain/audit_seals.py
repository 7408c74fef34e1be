"""The chain of seals over the audit log: what hashes are made of, and whether a seal holds.

    entry hash = SHA-256(every column of the entry, each behind its length)
    seal hash  = SHA-256(previous seal's hash ‖ number ‖ instant ‖ the hashes of its entries)

Numbers, lengths and instants are 8 bytes, big-endian; an instant is in whole microseconds. The rule
is docs/decisions/0013-audit-seals.md and never changes: what it sealed is checked by it for ever.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final

import msgspec

from abaxus_core.domain.findings import Finding

GENESIS: Final = bytes(32)
"""What the first seal has for the hash of the one before."""

_GONE: Final = b""
_number = Struct(">q").pack


class SealedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An audit entry, column by column: `at_us` as domain.instants counts, `data` as PostgreSQL
    spells its jsonb."""

    no: int
    id: str
    at_us: int
    actor: str
    action: str
    object_type: str
    object_id: str
    data: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries, in the order of their numbers, chained to the seal before."""

    no: int
    entry_count: int
    audit_nos: tuple[int, ...]
    entry_hashes: tuple[bytes, ...]
    previous_hash: bytes
    hash: bytes
    sealed_at_us: int


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The last seal: who has kept its hash elsewhere knows the whole chain before it."""

    seal_no: int
    hash: bytes


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What the next seal has to follow on: its number, and the hash before it.

    There are two hashes where the seal before did not hold: the one it should have and the one it
    has. Either is taken, so that a seal is found once and not again in the next.
    """

    no: int
    hashes: tuple[bytes, ...]


FIRST: Final = Link(no=1, hashes=(GENESIS,))


def entry_hash(entry: SealedEntry) -> bytes:
    """Return what stands for an entry in its seal; no two entries are spelt alike."""
    columns = (
        _number(entry.no),
        entry.id.encode(),
        _number(entry.at_us),
        entry.actor.encode(),
        entry.action.encode(),
        entry.object_type.encode(),
        entry.object_id.encode(),
        entry.data.encode(),
    )
    return sha256(b"".join(_number(len(column)) + column for column in columns)).digest()


def seal_after(head: Head | None, entries: Sequence[SealedEntry], sealed_at_us: int) -> Seal:
    """Return the seal of these entries that follows `head`, or is the first."""
    no, previous_hash = (1, GENESIS) if head is None else (head.seal_no + 1, head.hash)
    hashes = tuple(entry_hash(entry) for entry in entries)
    return Seal(
        no=no,
        entry_count=len(hashes),
        audit_nos=tuple(entry.no for entry in entries),
        entry_hashes=hashes,
        previous_hash=previous_hash,
        hash=_seal_hash(no, sealed_at_us, previous_hash, hashes),
        sealed_at_us=sealed_at_us,
    )


def follow(
    seal: Seal, entries: Mapping[int, SealedEntry], link: Link
) -> tuple[list[Finding], Link]:
    """Return what does not hold of a seal, and what the next one has to follow on.

    `entries`: those it covers, by number, as they are now. What was changed in one place is one
    finding: if the seal's hash is right for its entries as they are, or for the hash that should
    have come before, then it is the other that was changed.
    """
    findings = [*_missing_before(seal, link), *_miscounted(seal), *_broken(seal, link)]
    befores = (seal.previous_hash, *link.hashes)
    hashes_now = [entry_hash(entries[no]) if no in entries else _GONE for no in seal.audit_nos]
    as_kept = [_hash_of(seal, before, seal.entry_hashes) for before in befores]
    if seal.hash in as_kept:
        findings += _changed_entries(seal, entries, hashes_now)
        return findings, _link_after(seal, seal.hash)
    if seal.hash in [_hash_of(seal, before, hashes_now) for before in befores]:
        findings += _changed_hashes(seal, hashes_now)
        return findings, _link_after(seal, seal.hash)
    findings += [*_changed_entries(seal, entries, hashes_now), _changed_seal(seal, as_kept[0])]
    return findings, _link_after(seal, as_kept[0], seal.hash)


def never_sealed(first_no: int, last_no: int, audit_id: str) -> Finding:
    """Return the finding of entries that neither are in a seal nor wait for one."""
    one = f"audit entry {audit_id} (number {first_no})"
    return _finding(
        one if first_no == last_no else f"audit entries {first_no} to {last_no}",
        expected="in a seal, or waiting for one",
        found="neither",
    )


def waits_for_nothing(audit_no: int) -> Finding:
    """Return the finding of a number that waits to be sealed and has no entry."""
    return _finding(f"audit entry {audit_no}, not sealed yet", expected="an entry", found="none")


def there_twice(kind: str, no: int, copies: int) -> Finding:
    """Return the finding of a seal or an audit entry that shares its number with another."""
    return _finding(f"{kind} {no}", expected="there once", found=f"there {copies} times")


def _hash_of(seal: Seal, before: bytes, hashes: Sequence[bytes]) -> bytes:
    return _seal_hash(seal.no, seal.sealed_at_us, before, hashes)


def _seal_hash(no: int, sealed_at_us: int, before: bytes, hashes: Sequence[bytes]) -> bytes:
    return sha256(b"".join((before, _number(no), _number(sealed_at_us), *hashes))).digest()


def _link_after(seal: Seal, *hashes: bytes) -> Link:
    return Link(no=seal.no + 1, hashes=hashes)


def _missing_before(seal: Seal, link: Link) -> Iterator[Finding]:
    if seal.no > link.no:
        last = seal.no - 1
        missing = f"seal {last}" if link.no == last else f"seals {link.no} to {last}"
        yield _finding(missing, expected="in the chain", found="gone")


def _miscounted(seal: Seal) -> Iterator[Finding]:
    count = len(seal.entry_hashes)
    if (count, count) != (seal.entry_count, len(seal.audit_nos)):
        yield _finding(
            f"count of seal {seal.no}",
            expected=f"{count} entries, as many as it has hashes",
            found=f"{seal.entry_count}, with {len(seal.audit_nos)} numbers",
        )


def _broken(seal: Seal, link: Link) -> Iterator[Finding]:
    if seal.no == link.no and seal.previous_hash not in link.hashes:
        yield _finding(
            f"previous hash of seal {seal.no}",
            expected=link.hashes[0].hex(),
            found=seal.previous_hash.hex(),
        )


def _changed_seal(seal: Seal, expected: bytes) -> Finding:
    covered = f"audit entries {seal.audit_nos[0]} to {seal.audit_nos[-1]}"
    return _finding(
        f"hash of seal {seal.no}, over {seal.entry_count} of {covered}",
        expected=expected.hex(),
        found=seal.hash.hex(),
    )


def _changed_entries(
    seal: Seal, entries: Mapping[int, SealedEntry], hashes_now: Sequence[bytes]
) -> Iterator[Finding]:
    """What the seal kept is right, the entry is not."""
    for no, kept, now in zip(seal.audit_nos, seal.entry_hashes, hashes_now, strict=False):
        if now == _GONE:
            name, found = f"audit entry {no}", "gone"
        elif now != kept:
            name, found = f"audit entry {entries[no].id} (number {no})", f"hash {now.hex()}"
        else:
            continue
        yield _finding(f"{name} in seal {seal.no}", expected=f"hash {kept.hex()}", found=found)


def _changed_hashes(seal: Seal, hashes_now: Sequence[bytes]) -> Iterator[Finding]:
    """The entries are right, what the seal kept is not."""
    for no, kept, now in zip(seal.audit_nos, seal.entry_hashes, hashes_now, strict=False):
        if now != kept:
            yield _finding(
                f"hash that seal {seal.no} keeps of audit entry {no}",
                expected=now.hex(),
                found=kept.hex(),
            )


def _finding(where: str, *, expected: str, found: str) -> Finding:
    return Finding(invariant="audit_chain_whole", where=where, expected=expected, found=found)
