"""Whatever a superuser changes past the triggers, the chain of seals names, and only that."""

from collections.abc import Sequence

import pytest

from abaxus_core.kernel.database import Database
from abaxus_core.services import audit_seals
from abaxus_core.services.verification import audit_chain
from tests.support.audit_chain import found_in, write_entries
from tests.support.clock import FakeClock
from tests.support.metering import context_of, fetch

FORGED = "set_byte(previous_hash, 0, 255 - get_byte(previous_hash, 0))"
SLIP_IN = """
    INSERT INTO audit_log (audit_id, at, actor, action, object_type, object_id, data)
    SELECT 'aud_forged', at, actor, action, object_type, object_id, data
    FROM audit_log WHERE audit_no = 5
"""
SLIP_IN_AT = "INSERT INTO audit_log OVERRIDING SYSTEM VALUE"
REWRITE = (
    "UPDATE audit_log SET actor = 'system' WHERE audit_no = 5",
    "INSERT INTO audit_unsealed SELECT unnest(audit_nos) FROM audit_seals",
    "DELETE FROM audit_seals",
)
UNLOCK = (
    "ALTER TABLE audit_log DISABLE TRIGGER USER",
    "ALTER TABLE audit_seals DISABLE TRIGGER USER",
)
# What was done to three seals of three entries each, and the places and things that are found.
CORRUPTIONS: dict[str, tuple[Sequence[str], Sequence[tuple[str, str]]]] = {
    "an actor": (
        ["UPDATE audit_log SET actor = 'system' WHERE audit_no = 5"],
        [("audit entry {n5} (number 5) in seal 2", "hash *")],
    ),
    "a microsecond": (
        ["UPDATE audit_log SET at = at + interval '1 microsecond' WHERE audit_no = 5"],
        [("audit entry {n5} (number 5) in seal 2", "hash *")],
    ),
    "an instant that Python has none for": (
        ["UPDATE audit_log SET at = 'infinity' WHERE audit_no = 5"],
        [("audit entry {n5} (number 5) in seal 2", "hash *")],
    ),
    "a figure": (
        ["""UPDATE audit_log SET data = '{"total": 5}' WHERE audit_no = 5"""],
        [("audit entry {n5} (number 5) in seal 2", "hash *")],
    ),
    "two actions swapped": (
        ["UPDATE audit_log SET object_id = 'inv_' || (3 - audit_no % 2) WHERE audit_no IN (2, 4)"],
        [
            ("audit entry {n2} (number 2) in seal 1", "hash *"),
            ("audit entry {n4} (number 4) in seal 2", "hash *"),
        ],
    ),
    "an entry gone": (
        ["DELETE FROM audit_log WHERE audit_no = 5"],
        [("audit entry 5 in seal 2", "gone")],
    ),
    "an entry renumbered": (
        ["UPDATE audit_log SET audit_no = DEFAULT WHERE audit_no = 5"],
        [("audit entry 5 in seal 2", "gone"), ("audit entry {n5} (number 12)", "neither")],
    ),
    "an entry slipped in": (
        [SLIP_IN],
        [("audit entry aud_forged (number 12)", "neither")],
    ),
    "an entry slipped in before the first": (
        [f"{SLIP_IN_AT} VALUES (0, 'aud_forged', now(), 'system', 'a.b', 'a', 'b', '{{}}')"],
        [("audit entry aud_forged (number 0)", "neither")],
    ),
    "an entry that waits no more": (
        ["DELETE FROM audit_unsealed WHERE audit_no = 10"],
        [("audit entry {n10} (number 10)", "neither")],
    ),
    "an entry gone before it was sealed": (
        ["DELETE FROM audit_log WHERE audit_no = 10"],
        [("audit entry 10, not sealed yet", "none")],
    ),
    "a number that waits for nothing": (
        ["INSERT INTO audit_unsealed VALUES (99)"],
        [("audit entry 99, not sealed yet", "none")],
    ),
    "a seal gone with its entries": (
        [
            "DELETE FROM audit_seals WHERE seal_no = 2",
            "DELETE FROM audit_log WHERE audit_no IN (4, 5, 6)",
        ],
        [("seal 2", "gone")],
    ),
    "a seal gone": (
        ["DELETE FROM audit_seals WHERE seal_no = 2"],
        [("seal 2", "gone"), ("audit entries 4 to 6", "neither")],
    ),
    "the first seals gone": (
        ["DELETE FROM audit_seals WHERE seal_no < 3"],
        [("seals 1 to 2", "gone"), ("audit entries 1 to 6", "neither")],
    ),
    "the last seal gone": (
        ["DELETE FROM audit_seals WHERE seal_no = 3"],
        [("audit entries 7 to 9", "neither")],
    ),
    "a hash": (
        [f"UPDATE audit_seals SET hash = {FORGED} WHERE seal_no = 2"],
        [("hash of seal 2, over 3 of audit entries 4 to 6", "*")],
    ),
    "the hash of the last seal": (
        [f"UPDATE audit_seals SET hash = {FORGED} WHERE seal_no = 3"],
        [("hash of seal 3, over 3 of audit entries 7 to 9", "*")],
    ),
    "a previous hash": (
        [f"UPDATE audit_seals SET previous_hash = {FORGED} WHERE seal_no = 2"],
        [("previous hash of seal 2", "*")],
    ),
    "the hash of an entry": (
        [f"UPDATE audit_seals SET entry_hashes[2] = {FORGED} WHERE seal_no = 2"],
        [("hash that seal 2 keeps of audit entry 5", "*")],
    ),
    "the instant of a seal": (
        ["UPDATE audit_seals SET sealed_at = sealed_at - interval '1 day' WHERE seal_no = 2"],
        [("hash of seal 2, over 3 of audit entries 4 to 6", "*")],
    ),
    "the numbers of a seal": (
        [
            "ALTER TABLE audit_seals DROP CONSTRAINT audit_seals_counted",
            SLIP_IN,
            "UPDATE audit_seals SET audit_nos = audit_nos || 12::bigint WHERE seal_no = 2",
        ],
        [("count of seal 2", "3, with 4 numbers")],
    ),
    "a second seal of a number": (
        [
            "ALTER TABLE audit_seals DROP CONSTRAINT audit_seals_pkey",
            "INSERT INTO audit_seals SELECT * FROM audit_seals WHERE seal_no = 2",
        ],
        [("seal 2", "there 2 times")],
    ),
    "a seal before the first": (
        [
            "ALTER TABLE audit_seals DROP CONSTRAINT audit_seals_numbered",
            "UPDATE audit_seals SET seal_no = 0 WHERE seal_no = 3",
        ],
        [("audit entries 7 to 9", "neither")],
    ),
    "a second entry of a number": (
        [
            "ALTER TABLE audit_log DROP CONSTRAINT audit_log_pkey",
            "ALTER TABLE audit_log DROP CONSTRAINT audit_log_id_once",
            f"{SLIP_IN_AT} TABLE audit_log LIMIT 1",
        ],
        [("audit entry 1", "there 2 times")],
    ),
}


@pytest.fixture
async def chain(live: Database, clock: FakeClock) -> Database:
    """Entries 1 to 9 in three seals, 10 and 11 waiting; the triggers are off."""
    for _ in range(3):
        await write_entries(live, 3)
        await audit_seals.seal(context_of(live, clock))
    await write_entries(live, 2)
    for statement in UNLOCK:
        await fetch(live, statement)
    return live


async def test_a_whole_chain(chain: Database) -> None:
    assert await found_in(chain) == []


@pytest.mark.parametrize("name", CORRUPTIONS)
async def test_a_corruption_is_named(chain: Database, name: str) -> None:
    statements, expected = CORRUPTIONS[name]
    ids = {
        f"n{no}": id_ for no, id_ in await fetch(chain, "SELECT audit_no, audit_id FROM audit_log")
    }
    for statement in statements:
        await fetch(chain, statement)
    findings = await found_in(chain)
    assert [finding.where for finding in findings] == [where.format(**ids) for where, _ in expected]
    for finding, (_, found) in zip(findings, expected, strict=True):
        assert finding.invariant == "audit_chain_whole"
        assert finding.found != finding.expected
        assert finding.found.startswith(found.removesuffix("*")), finding


async def test_a_chain_rewritten_whole_shows_in_its_head_alone(
    chain: Database, clock: FakeClock
) -> None:
    """Why the head is logged: who may do anything to the database can make the chain anew."""
    async with chain.connection() as conn:
        kept = await audit_chain.head(conn)
    for statement in REWRITE:
        await fetch(chain, statement)
    await audit_seals.seal(context_of(chain, clock))
    assert await found_in(chain) == []
    async with chain.connection() as conn:
        assert await audit_chain.head(conn) != kept
