"""Event keys: which events there are, once for ever, whatever their timestamps say.

An event is named by its identity, 16 bytes: the customer's number and the event's key. Whoever
stores keys does so in ascending order of identities, so that two landings that meet wait in a
line, never in a circle.
"""

from collections.abc import Collection, Iterable
from struct import Struct
from typing import Final

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries
from abaxus_core.repositories import copy_format

_sql = queries("event_keys")
_known = _sql.many("known")

TABLE: Final = "event_keys"
ONCE: Final = "event_keys_once"
COLUMNS: Final = ("customer_no", "key_high", "key_low", "payload_hash")

_NUMBER_BYTES: Final = 4
_parts = Struct(">iiq")
_pack_fields = Struct(">iiiiiqiq").pack
_HEAD: Final = copy_format.count(len(COLUMNS))


def identity(customer_no: int, key: bytes) -> bytes:
    """Return what names an event in the database."""
    return customer_no.to_bytes(_NUMBER_BYTES, "big") + key


def parts(named: bytes) -> tuple[int, int, int]:
    """Return an identity as the columns customer_no, key_high and key_low."""
    customer_no, key_high, key_low = _parts.unpack(named)
    return customer_no, key_high, key_low


def columns(identities: Iterable[bytes]) -> list[list[int]]:
    """Return identities as the three arrays that statements take."""
    return [list(each) for each in zip(*_parts.iter_unpack(b"".join(identities)), strict=True)]


async def known(conn: Connection, identities: Collection[bytes]) -> dict[bytes, int]:
    """Return the stored payload hash of each of the events that is known."""
    if not identities:
        return {}
    named = list(identities)
    rows = await _known(conn, *columns(named))
    return {named[row["place"]]: row["payload_hash"] for row in rows}


async def insert(conn: Connection, rows: Iterable[bytes]) -> None:
    """Store keys, spelt as `fields`, in ascending order of their identities.

    Raises asyncpg.UniqueViolationError of ONCE when one is known; then none is stored.
    """
    await conn.copy_to_table(
        TABLE, source=copy_format.table(rows, _HEAD), columns=COLUMNS, format="binary"
    )


def fields(named: bytes, payload_hash: int) -> bytes:
    """Return an identity and its event's payload hash as the fields of COLUMNS."""
    customer_no, key_high, key_low = _parts.unpack(named)
    return _pack_fields(4, customer_no, 4, key_high, 8, key_low, 8, payload_hash)
