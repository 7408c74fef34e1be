"""Price plans: versions made and deprecated, and which of them counts (docs/decisions/0009)."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from abaxus_core.domain import plans
from abaxus_core.domain.charges import Charge
from abaxus_core.domain.entitlements import Entitlement, LimitEntitlement
from abaxus_core.domain.periods import Cadence
from abaxus_core.domain.plans import PlanStatus, PlanVersion
from abaxus_core.errors import NotFound
from abaxus_core.kernel.database import Connection, wake_with_commit
from abaxus_core.repositories import metrics
from abaxus_core.repositories import price_plans as repository
from abaxus_core.repositories.price_plans import Placed
from abaxus_core.services import audit
from abaxus_core.services.topics import CATALOGUE
from abaxus_core.services.work import Work

_NOT_NUMBERED = 0


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`effective_from` None is now. The charges get their ids here, whatever they carry."""

    plan_id: str
    name: str
    currency: str
    cadence: Cadence
    charges: tuple[Charge, ...]
    entitlements: tuple[Entitlement, ...] = ()
    changelog: str | None = None
    effective_from: datetime | None = None


async def create_version(work: Work, new: NewVersion) -> Placed:
    """The plan's next version, the first where the plan is new.

    Raises InvalidInput with the path within the plan; METRIC_NOT_FOUND where a charge or a limit
    names none of ours. Rivals for one plan wait for each other.
    """
    version = _unnumbered(work, new)
    plans.check_plan(version)
    await _check_metrics(work.conn, version)
    number = await repository.next_version(work.conn, new.plan_id, work.now)
    version = msgspec.structs.replace(version, version=number)
    await repository.insert_version(work.conn, version)
    await _record(work, "price_plan.version_created", version)
    return await get_version(work.conn, new.plan_id, number, now=work.now)


async def deprecate_version(work: Work, plan_id: str, version: int) -> Placed:
    """The version, closed to new subscriptions; again changes nothing."""
    deprecated = await repository.deprecate(work.conn, plan_id, version, work.now)
    placed = await get_version(work.conn, plan_id, version, now=work.now)
    if deprecated:
        await _record(work, "price_plan.version_deprecated", placed.version)
    return placed


async def get(conn: Connection, plan_id: str, *, now: datetime) -> Placed:
    """The plan's active version, the newest where none is active. Raises PLAN_NOT_FOUND."""
    placed = await repository.get_current(conn, plan_id, now=now)
    if placed is None:
        raise NotFound(f"there is no price plan {plan_id}", code="PLAN_NOT_FOUND", field="plan_id")
    return placed


async def get_version(conn: Connection, plan_id: str, version: int, *, now: datetime) -> Placed:
    """Raises PLAN_NOT_FOUND, PLAN_VERSION_NOT_FOUND."""
    placed = await repository.get_version(conn, plan_id, version, now=now)
    if placed is None:
        await get(conn, plan_id, now=now)
        raise NotFound(
            f"price plan {plan_id} has no version {version}",
            code="PLAN_VERSION_NOT_FOUND",
            field="plan_version",
        )
    return placed


async def page_of_versions(
    conn: Connection, plan_id: str, *, now: datetime, before_version: int, rows_max: int
) -> list[Placed]:
    """The plan's versions, newest first, those numbered below. Raises PLAN_NOT_FOUND."""
    placed = await repository.page_of_versions(
        conn, plan_id, now=now, before_version=before_version, rows_max=rows_max
    )
    if not placed:
        await get(conn, plan_id, now=now)
    return placed


def status_of(placed: Placed, now: datetime) -> PlanStatus:
    """The version's status at the instant it was read for."""
    # Of the plan's other versions only the active one matters, and it is known to be this or not.
    rivals = [placed.version] if placed.active_version == placed.version.version else []
    return plans.status_of(placed.version, rivals, now)


def _unnumbered(work: Work, new: NewVersion) -> PlanVersion:
    return PlanVersion(
        plan_id=new.plan_id,
        version=_NOT_NUMBERED,
        name=new.name,
        currency=new.currency,
        cadence=new.cadence,
        charges=tuple(
            msgspec.structs.replace(charge, id=work.ids.new("chg")) for charge in new.charges
        ),
        entitlements=new.entitlements,
        effective_from=work.now if new.effective_from is None else new.effective_from,
        changelog=new.changelog,
        created_at=work.now,
    )


async def _check_metrics(conn: Connection, version: PlanVersion) -> None:
    named = dict(_metrics_named(version))
    known = await metrics.find(conn, set(named.values()))
    for field, metric_key in named.items():
        if metric_key not in known:
            raise NotFound(f"there is no metric {metric_key}", code="METRIC_NOT_FOUND", field=field)


def _metrics_named(version: PlanVersion) -> Iterator[tuple[str, str]]:
    for place, charge in enumerate(version.charges):
        if charge.metric_key is not None:
            yield f"charges[{place}].metric_key", charge.metric_key
    for place, entitlement in enumerate(version.entitlements):
        if isinstance(entitlement, LimitEntitlement):
            yield f"entitlements[{place}].metric_key", entitlement.metric_key


async def _record(work: Work, action: str, version: PlanVersion) -> None:
    await audit.record(
        work,
        action=action,
        object_type="price_plan",
        object_id=version.plan_id,
        data={"version": version.version},
    )
    await wake_with_commit(work.conn, CATALOGUE)
