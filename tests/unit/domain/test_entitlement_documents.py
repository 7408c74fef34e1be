"""Resolved documents: phases that come into force by time, and what they answer."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from abaxus_core.domain.amendments import Amendment
from abaxus_core.domain.entitlement_documents import (
    BEGINNING,
    END,
    Document,
    Measure,
    Snapshot,
    combined,
    covers,
    holding,
    measures,
)
from abaxus_core.domain.entitlement_phases import (
    RUNNING_MAX,
    Catalogue,
    Held,
    document_of,
    metric_keys_of,
    terms_of,
)
from abaxus_core.domain.entitlements import BooleanEntitlement, Entitlement, LimitEntitlement
from abaxus_core.domain.periods import Period
from abaxus_core.domain.subscriptions import Subscription, Terms
from abaxus_core.errors import InvariantBroken
from tests.unit.domain.samples import APRIL, MAY, MONTHLY, at, metric, subscription
from tests.unit.domain.test_lives import amendment

NOW = at("2026-04-10")
V1, V2 = (Terms(plan_id="growth", plan_version=version) for version in (1, 2))
GRANTED: Mapping[Terms, tuple[Entitlement, ...]] = {
    V1: (
        LimitEntitlement(feature_key="calls", limit=Decimal(100), metric_key="calls"),
        BooleanEntitlement(feature_key="sso", value=True),
    ),
    V2: (LimitEntitlement(feature_key="calls", limit=Decimal(500), metric_key="calls"),),
}
CATALOGUE = Catalogue(granted=GRANTED, metrics={"calls": metric()})


def resolved(*subscriptions: Subscription, phases_max: int = 64) -> Document:
    held = [Held(subscription=each, cadence=MONTHLY) for each in subscriptions]
    return document_of(1, held, CATALOGUE, now=NOW, phases_max=phases_max)


def amended(*amendments: Amendment, **changes: object) -> Document:
    return resolved(subscription(amendments=amendments, **changes))


def limits(document: Document, *instants: str) -> list[Decimal | None]:
    """The limit of calls at these instants, with nothing used; None where nobody grants it."""
    found = []
    for text in instants:
        needed = measures(document, ("calls",), at(text))
        assert needed is not None
        snapshot = Snapshot(
            version=1, document=document, used=dict.fromkeys(needed, Decimal(0)), as_of=at(text)
        )
        found.append(combined(snapshot, ("calls",), at(text))[0].limit)
    return found


def test_a_customer_without_subscriptions_is_granted_nothing_for_good() -> None:
    document = resolved()
    snapshot = Snapshot(version=1, document=document, used={}, as_of=NOW)
    assert [phase.until for phase in document.phases] == [None]
    assert combined(snapshot, None, NOW) == []
    assert [one.granted for one in combined(snapshot, ("calls", "sso"), NOW)] == [False, False]


def test_what_is_pending_comes_into_force_by_itself() -> None:
    document = amended(
        amendment("plan_change", "2026-04-20", version=2),
        amendment("pause", "2026-05-01", resume="2026-05-03"),
        amendment("cancel", "2026-06-01"),
    )
    assert limits(
        document, "2026-01-01", "2026-04-20", "2026-05-01", "2026-05-03", "2026-06-01"
    ) == [100, 500, None, 500, None]


def test_what_starts_later_and_what_ends_does_so_by_itself() -> None:
    document = resolved(
        subscription(id="sub_1", end_at=at("2026-04-15")),
        subscription(id="sub_2", start_at=at("2026-04-12"), plan_version=2),
    )
    assert limits(document, "2026-04-11", "2026-04-12", "2026-04-15") == [100, 600, 500]


def test_what_cannot_be_applied_changes_nothing() -> None:
    document = amended(amendment("resume", "2026-04-20"))
    assert [phase.until for phase in document.phases] == [None]


def test_what_was_applied_by_a_clock_ahead_has_taken_effect() -> None:
    ahead = msgspec.structs.replace(
        amendment("plan_change", "2026-04-10T00:00:05", version=2), status="applied"
    )
    assert limits(amended(ahead), "2026-04-10") == [500]


def test_a_subscription_that_a_clock_ahead_started_is_in_its_first_period() -> None:
    cancelled = msgspec.structs.replace(
        amendment("pause", "2026-04-10T00:00:05"), id="amd_2", status="applied"
    )
    started = subscription(id="sub_2", start_at=at("2026-04-10T00:00:02"))
    document = resolved(subscription(amendments=(cancelled,)), started)
    (measure,) = measures(document, ("calls",), NOW) or ()
    assert measure.period.start == started.start_at


def test_past_the_phases_that_were_worked_out_nothing_is_known() -> None:
    one = subscription(amendments=(amendment("pause", "2026-04-20", resume="2026-04-22"),))
    document = resolved(one, phases_max=2)
    snapshot = Snapshot(version=1, document=document, used={}, as_of=NOW)
    assert [phase.until for phase in document.phases] == [at("2026-04-20"), at("2026-04-22")]
    assert covers(snapshot, ("sso",), at("2026-04-21"))
    assert not covers(snapshot, ("sso",), at("2026-04-22"))
    assert measures(document, None, at("2026-04-22")) is None


def test_more_subscriptions_than_a_document_holds_leave_it_its_first_phase() -> None:
    many = [subscription(id=f"sub_{n}", end_at=at("2026-04-20")) for n in range(RUNNING_MAX + 1)]
    assert [phase.until for phase in resolved(*many).phases] == [at("2026-04-20")]


def used(document: Document, number: int, now: str) -> Snapshot:
    needed = measures(document, None, at(now)) or ()
    return Snapshot(
        version=1, document=document, used=dict.fromkeys(needed, Decimal(number)), as_of=at(now)
    )


def test_usage_is_that_of_the_current_period_and_no_other() -> None:
    document = resolved(subscription())
    snapshot = used(document, 30, "2026-04-10")
    (told,) = combined(snapshot, ("calls",), NOW)
    assert (told.current_usage, told.remaining, told.exceeded) == (30, 70, False)
    assert [one.period for one in snapshot.used] == [APRIL]
    assert covers(snapshot, ("calls",), APRIL.end - timedelta(microseconds=1))
    assert not covers(snapshot, ("calls",), MAY.start)
    assert covers(snapshot, ("sso",), MAY.start)


def test_a_snapshot_holds_until_something_comes_into_force() -> None:
    document = amended(amendment("pause", "2026-04-20"), amendment("resume", "2026-04-25"))
    assert holding(used(document, 30, "2026-04-10")) == Period(
        start=APRIL.start, end=at("2026-04-20")
    )
    assert holding(used(document, 30, "2026-04-20")) == Period(
        start=at("2026-04-20"), end=at("2026-04-25")
    )
    assert holding(used(document, 30, "2026-04-25")) == Period(
        start=at("2026-04-25"), end=MAY.start
    )


def test_a_snapshot_of_nothing_counted_holds_for_good() -> None:
    empty = used(resolved(), 0, "2026-04-10")
    assert holding(empty) == Period(start=BEGINNING, end=END)


def test_a_snapshot_holds_no_longer_than_its_billing_period() -> None:
    assert holding(used(resolved(subscription()), 30, "2026-04-10")) == APRIL


def test_a_snapshot_holds_as_long_as_what_was_counted_for_it() -> None:
    whole = used(resolved(subscription()), 30, "2026-04-10")
    assert holding(whole) == APRIL
    of_no_limit = holding(msgspec.structs.replace(whole, used={}))
    assert of_no_limit is not None
    assert of_no_limit.contains(APRIL.end)


def test_past_the_last_phase_nothing_holds() -> None:
    assert holding(used_past_the_last_phase()) is None


def used_past_the_last_phase() -> Snapshot:
    ending = subscription(end_at=at("2026-04-20"))
    return used(resolved(ending, phases_max=1), 0, "2026-04-21")


def test_the_last_period_is_cut_off_where_the_subscription_ends() -> None:
    document = amended(amendment("cancel", "2026-04-20"))
    cut = Period(start=APRIL.start, end=at("2026-04-20"))
    assert [one.period for one in measures(document, None, NOW) or ()] == [APRIL]
    applied = msgspec.structs.replace(
        amendment("end_date_change", "2026-04-09", end="2026-04-20"), status="applied"
    )
    assert [one.period for one in measures(amended(applied), None, NOW) or ()] == [cut]


def test_limits_count_a_metric_and_period_once() -> None:
    document = resolved(
        subscription(id="sub_1"),
        subscription(id="sub_2", plan_version=2),
        subscription(id="sub_3", start_at=at("2026-04-05")),
    )
    snapshot = used(document, 30, "2026-04-10")
    (calls,) = combined(snapshot, ("calls",), NOW)
    assert (calls.limit, calls.current_usage) == (700, 60)


def test_all_is_by_name_and_what_is_asked_in_its_order() -> None:
    snapshot = used(resolved(subscription()), 0, "2026-04-10")
    assert [one.feature_key for one in combined(snapshot, None, NOW)] == ["calls", "sso"]
    asked = ("sso", "nobody", "calls")
    assert [one.feature_key for one in combined(snapshot, asked, NOW)] == list(asked)


def test_a_document_survives_being_stored() -> None:
    document = amended(amendment("plan_change", "2026-04-20", version=2))
    again = msgspec.json.decode(msgspec.json.encode(document), type=Document)
    assert again == document
    assert measures(again, None, NOW) == measures(document, None, NOW)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(document), type=Document) == document
    measure = (measures(document, None, NOW) or ())[0]
    assert msgspec.json.decode(msgspec.json.encode(measure), type=Measure) == measure


def test_a_metric_that_is_not_there_is_our_bug() -> None:
    held = [Held(subscription=subscription(), cadence=MONTHLY)]
    with pytest.raises(InvariantBroken):
        document_of(1, held, Catalogue(granted=GRANTED, metrics={}), now=NOW)


def test_all_plan_versions_and_metrics_that_may_count_are_named() -> None:
    held = [
        Held(
            subscription=subscription(
                amendments=(amendment("plan_change", "2026-04-20", version=2),)
            ),
            cadence=MONTHLY,
        )
    ]
    assert terms_of(held) == {V1, V2}
    assert metric_keys_of(GRANTED.values()) == {"calls"}
