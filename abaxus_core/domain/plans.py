"""Price plans: immutable versions of charges and entitlements, and which version counts when."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from abaxus_core.domain.charges import Charge, check_charge
from abaxus_core.domain.entitlements import Entitlement, check_entitlements
from abaxus_core.domain.money import normalise_currency
from abaxus_core.domain.periods import Cadence
from abaxus_core.errors import Conflict, InvalidInput

PlanStatus = Literal["active", "superseded", "scheduled", "deprecated"]

CHARGES_MAX = 100


class PlanVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a price plan. Nothing in it ever changes but `deprecated_at`."""

    plan_id: str
    version: int
    name: str
    currency: str
    cadence: Cadence
    charges: tuple[Charge, ...]
    entitlements: tuple[Entitlement, ...] = ()
    effective_from: datetime
    deprecated_at: datetime | None = None
    changelog: str | None = None
    created_at: datetime


def check_plan(version: PlanVersion) -> None:
    """Raise InvalidInput, with the field's path within the plan, unless the version can be sold."""
    normalise_currency(version.currency)
    if not version.charges:
        raise InvalidInput("must have at least one charge", field="charges")
    if len(version.charges) > CHARGES_MAX:
        raise InvalidInput(f"must have at most {CHARGES_MAX} charges", field="charges")
    for place, charge in enumerate(version.charges):
        _check_charge(charge, f"charges[{place}]")
    check_entitlements(version.entitlements)


def _check_charge(charge: Charge, path: str) -> None:
    try:
        check_charge(charge)
    except InvalidInput as error:
        field = f"{path}.{error.field}" if error.field else path
        raise InvalidInput(error.message, code=error.code, field=field) from error


def metric_keys_of(charges: Iterable[Charge]) -> frozenset[str]:
    """Return the metrics that charges price."""
    return frozenset(charge.metric_key for charge in charges if charge.metric_key is not None)


def is_available(version: PlanVersion, now: datetime) -> bool:
    """Return whether the version is in effect and not deprecated."""
    return version.effective_from <= now and not _is_deprecated(version, now)


def active_version(versions: Iterable[PlanVersion], now: datetime) -> PlanVersion | None:
    """Return the highest version in effect and not deprecated; None when there is none."""
    available = [version for version in versions if is_available(version, now)]
    return max(available, key=lambda version: version.version, default=None)


def status_of(version: PlanVersion, versions: Sequence[PlanVersion], now: datetime) -> PlanStatus:
    """Return the status of one of a plan's versions, among all of them, at an instant."""
    if _is_deprecated(version, now):
        return "deprecated"
    if version.effective_from > now:
        return "scheduled"
    active = active_version(versions, now)
    return "active" if active is not None and active.version == version.version else "superseded"


def check_subscribable(version: PlanVersion, now: datetime) -> None:
    """Raise PLAN_VERSION_DEPRECATED when the version takes no new subscriptions."""
    if _is_deprecated(version, now):
        raise Conflict(
            f"version {version.version} of plan {version.plan_id} is deprecated",
            code="PLAN_VERSION_DEPRECATED",
            field="plan_version",
        )


def _is_deprecated(version: PlanVersion, now: datetime) -> bool:
    return version.deprecated_at is not None and version.deprecated_at <= now
