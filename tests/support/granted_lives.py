"""Random lives of subscriptions, each change of which grants something that never was granted
before, or nothing: what a check shows tells which change it knows of.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.support.grant_history import Grants

BASE: Final = "base"
EXTRA: Final = "extra"
METRIC: Final = "calls"
SEATS: Final = "seats"
TIER: Final = "tier"
FEATURES: Final = (SEATS, TIER)
# Plan versions; a grant that is so many changes old would pass for the one that holds.
RUNGS: Final = 30
EXTRA_SEATS: Final = 1_000
NOTHING: Final[Grants] = {SEATS: None, TIER: None}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what the customer is granted once it was answered, or from `due` on."""

    what: str
    path: str
    body: Mapping[str, object]
    grants: Grants
    due: datetime | None = None

    def at_once(self) -> "Asked":
        """The same for now: what was to be done later came too late for that."""
        assert self.due is not None
        return replace(self, body={**self.body, "effective": "immediate"}, due=None)


@dataclass(slots=True)
class Subscribed:
    """A subscription as far as its customer's grants go by it."""

    rung: int
    id: str = ""
    paused: bool = False


@dataclass(slots=True)
class GrantedLife:
    """A customer on the plan BASE, with one on EXTRA at times; `next` asks for a change."""

    customer_id: str
    dice: random.Random
    since: datetime
    base: Subscribed | None = None
    extra: Subscribed | None = None
    _rung: int = 0
    _made: Subscribed | None = None
    _asked: int = field(default=0)

    def next(self) -> Asked:
        """A change. Its answer must be given to `answered` before the one after it is asked for."""
        return self.dice.choice(self._possible())()

    def answered(self, answer: Mapping[str, object]) -> None:
        if self._made is not None:
            self._made.id = str(answer["id"])

    def subscribe(self) -> Asked:
        self.base = Subscribed(self._climb())
        return self._new(BASE, self.base)

    def add(self) -> Asked:
        self.extra = Subscribed(self._climb())
        return self._new(EXTRA, self.extra)

    def change(self) -> Asked:
        assert self.base is not None
        self.base.rung = self._climb()
        return self._amend("plan_change", self.base, plan_id=BASE, plan_version=self.base.rung)

    def change_later(self) -> Asked:
        assert self.base is not None
        self.base.rung = self._climb()
        due = datetime.now(UTC) + timedelta(milliseconds=self.dice.randrange(300, 600))
        return self._amend(
            "plan_change", self.base, due=due, plan_id=BASE, plan_version=self.base.rung
        )

    def pause(self) -> Asked:
        assert self.base is not None
        self.base.paused = True
        return self._amend("pause", self.base)

    def resume(self) -> Asked:
        assert self.base is not None
        self.base.paused = False
        return self._amend("resume", self.base)

    def cancel(self) -> Asked:
        assert self.base is not None
        ended, self.base = self.base, None
        return self._amend("cancel", ended)

    def drop(self) -> Asked:
        assert self.extra is not None
        ended, self.extra = self.extra, None
        return self._amend("cancel", ended)

    def _possible(self) -> list[Callable[[], Asked]]:
        if self.base is None:
            return [self.subscribe]
        if self.base.paused:
            return [self.resume, self.resume, self.cancel]
        ends_extra = self.add if self.extra is None else self.drop
        return [
            self.change,
            self.change,
            self.change_later,
            self.pause,
            self.cancel,
            ends_extra,
        ]

    def _climb(self) -> int:
        self._rung = self._rung % RUNGS + 1
        return self._rung

    def _new(self, plan_id: str, made: Subscribed) -> Asked:
        self._made = made
        body = {
            "customer_id": self.customer_id,
            "plan_id": plan_id,
            "plan_version": made.rung,
            "start_date": self.since.isoformat(),
        }
        return self._ask(f"subscribing to {plan_id} {made.rung}", "/v1/subscriptions", body)

    def _amend(
        self, kind: str, of: Subscribed, *, due: datetime | None = None, **terms: object
    ) -> Asked:
        self._made = None
        body = {"type": kind, "effective": "immediate" if due is None else due.isoformat(), **terms}
        what = f"{kind} of {of.rung}" if not terms else f"{kind} to {of.rung}"
        return self._ask(what, f"/v1/subscriptions/{of.id}/amendments", body, due)

    def _ask(
        self, what: str, path: str, body: Mapping[str, object], due: datetime | None = None
    ) -> Asked:
        self._asked += 1
        key = f"{self.customer_id}-{self._asked}"
        keyed = {**body, "idempotency_key": key}
        return Asked(f"change {self._asked}, {what},", path, keyed, self._grants(), due)

    def _grants(self) -> Grants:
        base = self.base if self.base is not None and not self.base.paused else None
        seats = (base.rung if base else 0) + (self.extra.rung * EXTRA_SEATS if self.extra else 0)
        return {
            SEATS: str(seats) if base or self.extra else None,
            TIER: f"rung {base.rung}" if base else None,
        }


def plan_versions(rungs: int) -> Iterator[dict[str, object]]:
    """Both plans' versions, each of which grants something else; seats count METRIC."""
    for rung in range(1, rungs + 1):
        tier = {"feature_key": TIER, "type": "custom", "value": f"rung {rung}"}
        yield _version(BASE, _seats(rung), tier)
        yield _version(EXTRA, _seats(rung * EXTRA_SEATS))


def _seats(limit: int) -> dict[str, object]:
    return {"feature_key": SEATS, "type": "limit", "limit": limit, "metric_key": METRIC}


def _version(plan_id: str, *entitlements: Mapping[str, object]) -> dict[str, object]:
    return {
        "id": plan_id,
        "name": plan_id,
        "currency": "usd",
        "billing_period": "monthly",
        "charges": [{"pricing_model": "flat_fee", "amount": 1}],
        "entitlements": entitlements,
    }
