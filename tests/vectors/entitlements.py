"""Entitlement cases: limits of several grants, and what is left of one."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from abaxus_core.domain.entitlements import Combined, Grant, LimitEntitlement, combine
from tests.vectors.case import Case, NotApplicable

Answer = dict[str, Any]

STARTED = datetime(2024, 1, 1, tzinfo=UTC)


def _combined(limits: list[str | None], used: str = "0") -> Combined:
    grants = [
        Grant(
            plan_id=f"plan-{place}",
            subscription_id=f"sub_{place}",
            started_at=STARTED,
            entitlement=LimitEntitlement(
                feature_key="feature",
                limit=None if limit is None else Decimal(limit),
                metric_key="usage",
            ),
        )
        for place, limit in enumerate(limits)
    ]
    return combine("feature", grants, Decimal(used))


def _combine_limits(case: Case) -> Answer:
    enabled = [grant for grant in case.input["grants"] if grant.get("enabled", True)]
    combined = _combined([grant["limit"] for grant in enabled])
    return {"entitled": combined.granted, "limit": combined.limit}


def _access(case: Case) -> Answer:
    """Allowed to a caller who enforces: something is left."""
    combined = _combined([case.input["limit"]], case.input["used"])
    left = combined.remaining
    return {"allowed": combined.granted and (left is None or left > 0), "remaining": left}


def _never(reason: str) -> Callable[[Case], Answer]:
    def refuse(case: Case) -> Answer:
        raise NotApplicable(reason)

    return refuse


KINDS: Mapping[str, Callable[[Case], Answer]] = {
    "combine_limits": _combine_limits,
    "access": _access,
    "burn_down": _never("prepaid-credit"),
    "balance": _never("prepaid-credit"),
    "included_usage": _never("included-units"),
    "same_level_limits": _never("limit-override"),
    "override_levels": _never("limit-override"),
}
