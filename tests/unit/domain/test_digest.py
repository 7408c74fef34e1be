from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from ulid import ULID

from abaxus_core.domain.digest import (
    digest_text,
    event_id,
    event_key,
    payload_hash,
)
from tests.unit.domain.test_events import EVENT


def test_ids_never_change() -> None:
    key = event_key("acme", "k1")
    assert key == UUID("a9bff821-b3c2-57c6-0dac-37cb1b048293")
    assert event_id(key) == "evt_59qzw23cy2az30vb1qscdg90mk"


@pytest.mark.parametrize("number", [0, 1, 2**64, 2**128 - 1])
def test_an_event_id_has_the_form_of_a_ulid(number: int) -> None:
    key = UUID(int=number)
    assert event_id(key) == f"evt_{str(ULID.from_uuid(key)).lower()}"


def test_customer_and_key_do_not_run_into_each_other() -> None:
    assert event_key("a", "bc") != event_key("ab", "c")


def test_the_hash_is_of_the_values_not_of_their_spelling() -> None:
    one = msgspec.structs.replace(EVENT, properties={"a": 1, "b": {"c": 2, "d": 3}})
    other = msgspec.structs.replace(
        EVENT,
        value=Decimal("1.50"),
        timestamp=EVENT.timestamp.astimezone(timezone(timedelta(hours=5))),
        properties={"b": {"d": 3, "c": 2}, "a": 1},
    )
    assert payload_hash(one) == payload_hash(other)
    assert -(2**63) <= payload_hash(one) < 2**63


@pytest.mark.parametrize(
    "change",
    [
        {"value": Decimal("1.51")},
        {"metric_key": "bytes"},
        {"timestamp": EVENT.timestamp + timedelta(microseconds=1)},
        {"properties": {"a": 1}},
        {"subscription_id": "sub_1"},
        {"idempotency_key": "k2"},
        {"customer_id": "acme2"},
    ],
)
def test_whatever_was_sent_counts(change: dict[str, Any]) -> None:
    assert payload_hash(msgspec.structs.replace(EVENT, **change)) != payload_hash(EVENT)


def test_a_digest_shows_as_sixteen_digits() -> None:
    assert digest_text(9) == "0000000000000009"
    assert digest_text(-(2**63)) == "8000000000000000"
