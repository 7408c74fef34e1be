from datetime import timedelta, timezone
from typing import Any

import pytest
from ulid import ULID

from abaxus_core.domain.digest import (
    digest_text,
    event_digest,
    event_id,
    event_key,
    payload_hash,
)
from abaxus_core.domain.events import properties_text
from abaxus_core.domain.instants import microseconds
from tests.unit.domain.samples import at

KEY = event_key(event_digest("acme", "k1"))
PAYLOAD: dict[str, Any] = {
    "key": KEY,
    "metric_no": 1,
    "occurred_us": microseconds(at("2026-04-15T12:00")),
    "value": "1.5",
    "subscription_id": None,
    "properties": None,
}


def test_ids_never_change() -> None:
    digest = event_digest("acme", "k1")
    assert event_key(digest).hex() == "a9bff821b3c257c60dac37cb"
    assert event_id(digest) == "evt_0a9bff821b3c257c60dac37cb1"


@pytest.mark.parametrize("digest", [bytes(32), b"\xff" * 32, event_digest("acme", "k1")])
def test_an_event_id_has_the_form_of_a_ulid(digest: bytes) -> None:
    shown = event_id(digest).removeprefix("evt_")
    assert str(ULID.from_str(shown.upper())).lower() == shown


def test_customer_and_key_do_not_run_into_each_other() -> None:
    assert event_digest("a", "bc") != event_digest("ab", "c")


def test_the_hash_is_of_the_values_not_of_their_spelling() -> None:
    noon = at("2026-04-15T12:00")
    assert microseconds(noon) == microseconds(noon.astimezone(timezone(timedelta(hours=5))))
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert properties_text(one) == properties_text(other)
    assert -(2**63) <= payload_hash(**PAYLOAD) < 2**63


@pytest.mark.parametrize(
    "change",
    [
        {"value": "1.51"},
        {"metric_no": 2},
        {"occurred_us": PAYLOAD["occurred_us"] + 1},
        {"properties": '{"a":1}'},
        {"subscription_id": "sub_1"},
        {"key": event_key(event_digest("acme", "k2"))},
        {"key": event_key(event_digest("acme2", "k1"))},
    ],
)
def test_whatever_was_sent_counts(change: dict[str, Any]) -> None:
    assert payload_hash(**PAYLOAD | change) != payload_hash(**PAYLOAD)


def test_a_digest_shows_as_sixteen_digits() -> None:
    assert digest_text(9) == "0000000000000009"
    assert digest_text(-(2**63)) == "8000000000000000"
