"""What a cache holds: written and read again, and believed only of the server's own life."""

from datetime import timedelta
from decimal import Decimal

import pytest

from abaxus_core.domain.entitlement_documents import Snapshot, measures
from abaxus_core.services.entitlements.kept_values import VALUE, Values, written
from tests.unit.domain.samples import at
from tests.unit.domain.test_entitlement_documents import NOW, amended, resolved, used
from tests.unit.domain.test_lives import amendment

RUN = b"a" * 40
DOCUMENT = amended(amendment("plan_change", "2026-04-20", version=2))


def snapshot(usage: str = "0.125", *, version: int = 7) -> Snapshot:
    needed = measures(DOCUMENT, None, NOW) or ()
    counted = dict.fromkeys(needed, Decimal(usage))
    return Snapshot(version=version, document=DOCUMENT, used=counted, as_of=NOW)


@pytest.mark.parametrize("usage", ["0", "-3", "0.000000000001", "1e40", "12345678901234567890.5"])
def test_a_snapshot_survives_being_kept(usage: str) -> None:
    assert Values().read("acme", written(snapshot(usage), RUN), RUN, NOW) == snapshot(usage)


def test_what_has_been_decoded_is_the_same_while_its_bytes_are() -> None:
    values = Values()
    first = values.read("acme", written(snapshot(), RUN), RUN, NOW)
    assert values.read("acme", written(snapshot(), RUN), RUN, NOW) is first
    assert values.read("acme", written(snapshot(version=8), RUN), RUN, NOW) == snapshot(version=8)
    assert values.read("acme", written(snapshot(), RUN), RUN, NOW) == snapshot()


def test_a_document_is_decoded_once_and_a_plan_once_for_all_documents() -> None:
    values = Values()
    first = values.read("acme", written(snapshot("1"), RUN), RUN, NOW)
    later = values.read("acme", written(snapshot("2"), RUN), RUN, NOW)
    other = values.read("beta", written(snapshot("1"), RUN), RUN, NOW)
    assert first is not None
    assert later is not None
    assert other is not None
    assert later.document is first.document
    assert (later, other) == (snapshot("2"), snapshot("1"))
    assert other.document.plans[0] is first.document.plans[0]


def test_nothing_of_another_life_is_believed_whatever_was_decoded_before() -> None:
    values, raw = Values(), written(snapshot(), RUN)
    assert values.read("acme", raw, RUN, NOW) is not None
    assert values.read("acme", raw, b"b" * 40, NOW) is None


def test_nothing_is_read_that_does_not_hold_any_more() -> None:
    values, raw = Values(), written(snapshot(), RUN)
    change = at("2026-04-20")
    assert values.read("acme", raw, RUN, change - timedelta(microseconds=1)) == snapshot()
    assert values.read("acme", raw, RUN, change) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"lease:0123",
        VALUE,
        VALUE + RUN,
        VALUE + RUN + b"\xc1",
        written(snapshot(), RUN)[:-1],
        b"value0:" + written(snapshot(), RUN)[len(VALUE) :],
    ],
)
def test_what_is_no_value_is_none(raw: bytes) -> None:
    assert Values().read("acme", raw, RUN, NOW) is None


def test_a_customer_who_is_granted_nothing_is_kept_too() -> None:
    empty = used(resolved(), 0, "2026-04-10")
    assert Values().read("acme", written(empty, RUN), RUN, NOW) == empty
