"""Who is billed in a stored history: customers as they are made and as the test remembers them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from abaxus_core.domain.charges import Charge
from tests.property.life_oracle import COUNTS, Event, Story
from tests.property.stored_lives import METRICS, StoredPlan, Subscribed
from tests.support.books import Answer, Books

COUNTED = {key: COUNTS[one] for group in METRICS for key, one in group.items()}
EVER_SINCE = "2020-01-01T00:00:00Z"

# Under its key, with its number in the order of arrival.
Arrived = tuple[str, int, Event]


@dataclass(slots=True)
class Held:
    """A subscription, and its story but for the amendments."""

    id: str
    plan_id: str
    story: Story


@dataclass(slots=True)
class Buyer:
    """A customer; `furthest`: no later cutoff was billed to."""

    id: str
    held: list[Held]
    furthest: datetime
    sent: list[tuple[str, Event]] = field(default_factory=list)
    queued: list[Arrived] = field(default_factory=list)
    landed: dict[str, Arrived] = field(default_factory=dict)
    calculation: Answer | None = None

    @property
    def events(self) -> list[Event]:
        """What has landed, in order of arrival."""
        ordered = sorted(self.landed.values(), key=lambda arrived: arrived[1])
        return [event for _, _, event in ordered]

    def land(self, arrived: Arrived) -> None:
        """Of one key, the first to land counts."""
        self.landed.setdefault(arrived[0], arrived)

    def land_queued(self) -> None:
        for arrived in self.queued:
            self.land(arrived)
        self.queued = []


async def make_buyers(books: Books, plan: StoredPlan, name: str, now: datetime) -> list[Buyer]:
    """The customers of a drawn plan, each with all its subscriptions."""
    stories = {
        f"{name}-{place}": await _story(books, f"{name}-{place}", plan, one)
        for place, one in enumerate(plan.subscriptions)
    }
    buyers = []
    for number in range(plan.customers):
        buyer = Buyer(f"{name}-c{number}", [], now)
        await books.customer(buyer.id)
        for plan_id, story in stories.items():
            end = {} if story.end_at is None else {"end_date": story.end_at.isoformat()}
            subscription_id = await books.subscribe(
                buyer.id, plan_id, story.start_at.isoformat(), plan_version=1, **end
            )
            buyer.held.append(Held(subscription_id, plan_id, story))
        buyers.append(buyer)
    return buyers


async def _story(books: Books, plan_id: str, plan: StoredPlan, one: Subscribed) -> Story:
    start_at = plan.start_at + one.after
    return Story(
        start_at=start_at,
        end_at=None if one.lasts is None else start_at + one.lasts,
        version=1,
        cadence=one.cadence,
        charges={
            version: await _version(books, plan_id, one, stated)
            for version, stated in sorted(one.charges.items())
        },
        counts=COUNTED,
    )


async def _version(
    books: Books, plan_id: str, one: Subscribed, stated: Sequence[Charge]
) -> list[Charge]:
    """The charges under the ids that they were given."""
    made = await books.plan(
        *map(_document, stated),
        plan_id=plan_id,
        entitlements=_entitlements(plan_id, len(stated)),
        billing_period=msgspec.to_builtins(one.cadence),
        effective_from=EVER_SINCE,
    )
    return [
        msgspec.structs.replace(charge, id=given["id"])
        for charge, given in zip(stated, made["charges"], strict=True)
    ]


def _entitlements(plan_id: str, number: int) -> list[dict[str, object]]:
    """A limit on every metric, and a feature on whose type versions and plans disagree."""
    limits = [
        {"feature_key": key, "type": "limit", "limit": 10 * number, "metric_key": key}
        for key in sorted(COUNTED)
    ]
    if number % 2:
        return [*limits, {"feature_key": "sso", "type": "boolean", "value": True}]
    return [*limits, {"feature_key": "sso", "type": "custom", "value": plan_id}]


def _document(charge: Charge) -> dict[str, object]:
    """The charge as the API takes it."""
    document: dict[str, object] = msgspec.to_builtins(charge)
    return {name: value for name, value in document.items() if name != "id" and value is not None}


def event_document(buyer: Buyer, key: str, event: Event) -> dict[str, object]:
    """The event as the API takes it."""
    return {
        "customer_id": buyer.id,
        "metric_key": event.metric_key,
        "value": str(event.value),
        "timestamp": event.occurred_at.isoformat(),
        "idempotency_key": key,
        "properties": {"user": event.user},
    }
