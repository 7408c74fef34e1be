"""Price plans: versions written once, read as documents (docs/decisions/0009)."""

from datetime import datetime

import msgspec

from abaxus_core.domain.charges import Charge
from abaxus_core.domain.entitlements import Entitlement
from abaxus_core.domain.periods import Cadence
from abaxus_core.domain.plans import PlanVersion
from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import Record, queries

_sql = queries("price_plans")
_next_version = _sql.one("next_version")
_insert_version = _sql.exec("insert_version")
_get_version = _sql.maybe("get_version")
_get_current = _sql.maybe("get_current")
_page = _sql.many("page")
_page_of_versions = _sql.many("page_of_versions")
_hold_version = _sql.maybe("hold_version")
_deprecate = _sql.exec("deprecate")

_charges = msgspec.json.Decoder(tuple[Charge, ...])
_entitlements = msgspec.json.Decoder(tuple[Entitlement, ...])


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A version and which version of its plan is active, None where none is."""

    version: PlanVersion
    active_version: int | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan as a list shows it: its current version, and since when there is a plan."""

    current: Placed
    created_at: datetime


async def next_version(conn: Connection, plan_id: str, now: datetime) -> int:
    """The number of the plan's next version, 1 for a new plan; holds the plan until the end."""
    row = await _next_version(conn, plan_id, now)
    return int(row["latest_version"])


async def insert_version(conn: Connection, version: PlanVersion) -> None:
    await _insert_version(
        conn,
        version.plan_id,
        version.version,
        version.name,
        version.currency,
        version.cadence.interval,
        version.cadence.count,
        version.changelog,
        version.effective_from,
        msgspec.json.encode(version.charges).decode(),
        msgspec.json.encode(version.entitlements).decode(),
        version.created_at,
    )


async def get_version(
    conn: Connection, plan_id: str, version: int, *, now: datetime
) -> Placed | None:
    row = await _get_version(conn, plan_id, version, now)
    return None if row is None else _placed(row)


async def get_current(conn: Connection, plan_id: str, *, now: datetime) -> Placed | None:
    """The version that is active at `now`, else the newest; None when there is no such plan."""
    row = await _get_current(conn, plan_id, now)
    return None if row is None else _placed(row)


async def page(
    conn: Connection, *, now: datetime, before: tuple[datetime, str], rows_max: int
) -> list[Plan]:
    """Newest plans first, those made before `before`, an instant and a plan's id."""
    rows = await _page(conn, now, *before, rows_max)
    return [Plan(current=_placed(row), created_at=row["plan_created_at"]) for row in rows]


async def page_of_versions(
    conn: Connection, plan_id: str, *, now: datetime, before_version: int, rows_max: int
) -> list[Placed]:
    """Newest first, those numbered below `before_version`."""
    rows = await _page_of_versions(conn, plan_id, now, before_version, rows_max)
    return [_placed(row) for row in rows]


async def hold_version(conn: Connection, plan_id: str, version: int) -> PlanVersion | None:
    """The version, held against deprecation until the transaction ends."""
    row = await _hold_version(conn, plan_id, version)
    return None if row is None else _version(row)


async def deprecate(conn: Connection, plan_id: str, version: int, at: datetime) -> bool:
    """Whether that changed anything: a deprecated version keeps its first instant."""
    return await _deprecate(conn, plan_id, version, at) > 0


def _placed(row: Record) -> Placed:
    return Placed(version=_version(row), active_version=row["active_version"])


def _version(row: Record) -> PlanVersion:
    return PlanVersion(
        plan_id=row["plan_id"],
        version=row["version"],
        name=row["name"],
        currency=row["currency"],
        cadence=Cadence(interval=row["billing_interval"], count=row["billing_count"]),
        charges=_charges.decode(row["charges"]),
        entitlements=_entitlements.decode(row["entitlements"]),
        effective_from=row["effective_from"],
        deprecated_at=row["deprecated_at"],
        changelog=row["changelog"],
        created_at=row["created_at"],
    )
