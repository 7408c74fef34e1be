"""Where two documents of a customer, made at different times, grant something else."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from abaxus_core.domain.entitlement_documents import Document, GrantingPlan, Metering, Running
from abaxus_core.domain.entitlements import LimitEntitlement


class Granted(msgspec.Struct, frozen=True):
    """A subscription and its plan without places in a document; `meterings`: of its limits."""

    running: Running
    plan: GrantingPlan
    meterings: tuple[Metering, ...]


class Stretch(msgspec.Struct, frozen=True):
    """What is granted until an instant, or for good."""

    until: datetime | None
    granted: tuple[Granted, ...]


def disagreement(one: Document, other: Document, since: datetime) -> tuple[Stretch, Stretch] | None:
    """Return the first stretch from `since` on in which they differ; None: they grant the same.

    One that tells of fewer stretches is cut off there: it differs in nothing that it tells.
    """
    stretches = zip(_stretches(one, since), _stretches(other, since), strict=False)
    return next(((ours, theirs) for ours, theirs in stretches if ours != theirs), None)


def _stretches(document: Document, since: datetime) -> list[Stretch]:
    return [
        Stretch(phase.until, tuple(_granted(document, running) for running in phase.running))
        for phase in document.phases
        if phase.until is None or phase.until > since
    ]


def _granted(document: Document, running: Running) -> Granted:
    plan = document.plans[running.plan]
    return Granted(
        msgspec.structs.replace(running, plan=0), plan, tuple(_meterings(document, plan))
    )


def _meterings(document: Document, plan: GrantingPlan) -> Iterator[Metering]:
    for entitlement in plan.entitlements:
        if isinstance(entitlement, LimitEntitlement):
            yield document.meterings[entitlement.metric_key]
