"""Reading JSON exactly, and saying where it is wrong."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from abaxus_core.errors import AbaxusError, InvalidInput, MalformedBody
from abaxus_core.http import codec


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    up_to: Decimal | None
    unit_price: Decimal = Decimal(0)


class Charge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tiers: list[Tier] = []


class Named(msgspec.Struct, tag_field="kind", tag="named", forbid_unknown_fields=True):
    value: str


class Counted(msgspec.Struct, tag_field="kind", tag="counted", forbid_unknown_fields=True):
    value: Decimal


class Colour(msgspec.Struct, frozen=True, kw_only=True):
    code: Annotated[str, msgspec.Meta(pattern="^#[0-9a-f]{6}$")]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: codec.CallerId = "acme"
    name: str = ""
    count: int = 0
    at: datetime | None = None
    charges: list[Charge] = []
    metadata: dict[str, str] = {}
    properties: dict[str, Any] = {}
    grant: Named | Counted | None = None
    items: list[codec.Item] = []


def read(text: str) -> Body:
    return codec.typed(Body, codec.parse(text.encode()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.10", "1.10"),
        ('"0.0000000001"', "0.0000000001"),
        ("1e5", "100000"),
        ("9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999"),
        ("-0.1", "-0.1"),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_numbers_are_read_exactly(text: str, value: str) -> None:
    read_back = read(f'{{"charges": [{{"tiers": [{{"up_to": {text}}}]}}]}}').charges[0].tiers[0]
    assert read_back.up_to is not None
    assert f"{read_back.up_to:f}" == value


@pytest.mark.parametrize(
    "number",
    [
        "0.12345678901",
        "1e28",
        "10000000000000000000000000000",
        "1e999999999",
        "1e-999999999",
        "1" * 5000,
        "NaN",
        "-Infinity",
        '"NaN"',
        '"1_000"',
        '" 1"',
        '"1e5"',
        '"+1"',
        '"١٢"',
        '""',
        "true",
        "[]",
    ],
)
def test_a_number_that_will_not_do_is_refused_at_its_field(number: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(f'{{"charges": [{{"tiers": [{{"up_to": 1}}, {{"up_to": {number}}}]}}]}}')
    assert caught.value.field == "charges[0].tiers[1].up_to"
    assert caught.value.code == "VALIDATION_FAILED"


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        ('{"nmae": "x"}', "nmae", "UNKNOWN_FIELD"),
        ('{"charges": [{"tiers": [{"up_to": 1, "x": 2}]}]}', "charges[0].tiers[0].x", None),
        ('{"charges": [{"tiers": [{}]}]}', "charges[0].tiers[0].up_to", None),
        ('{"charges": [{}, 5]}', "charges[1]", None),
        ('{"name": 5}', "name", None),
        ('{"name": "a\\u0000b"}', "name", None),
        ('{"name": "\\ud800"}', "name", None),
        ('{"\\ud800": 1}', "\ud800", None),
        ('{"grant": {"kind": "\\ud800", "value": "1"}}', "grant.kind", None),
        ('{"charges": [{"tiers": [{"\\ud800": 1}]}]}', "charges[0].tiers[0].\ud800", None),
        ('{"metadata": {"k": "\\udfff"}}', "metadata.k", None),
        ('{"metadata": {"k": 5}}', "metadata", None),
        ('{"properties": {"a": [{"b": "\\u0000"}]}}', "properties.a[0].b", None),
        ('{"properties": {"a": NaN}}', "properties.a", None),
        ('{"properties": {"a": 1e999}}', "properties.a", None),
        ('{"properties": {"a": 1, "a": 2}}', "properties.a", None),
        ('{"charges": [{"tiers": [{"up_to": 1, "up_to": 2}]}]}', "charges[0].tiers[0].up_to", None),
        ('{"name": "a", "name": "a"}', "name", None),
        ('{"count": 1.5}', "count", None),
        ('{"count": 9223372036854775808}', "count", None),
        ('{"count": NaN}', "count", None),
        ('{"at": "2026-04-01T00:00:00"}', "at", None),
        ('{"at": "2026-04-01"}', "at", None),
        ('{"at": 5}', "at", None),
        ('{"at": "0001-01-01T00:00:00+05:00"}', "at", None),
        ('{"at": "9999-12-31T23:59:59-05:00"}', "at", None),
        ('{"id": "a b"}', "id", None),
        ('{"id": "acme\\n"}', "id", None),
        ('{"grant": {"kind": "counted", "value": "1_0"}}', "grant.value", None),
        ('{"grant": {"kind": ["x"], "value": "1"}}', "grant.kind", None),
        ("[]", None, None),
        ("5", None, None),
    ],
)
def test_a_fault_names_its_field(text: str, field: str | None, code: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(text)
    assert caught.value.field == field
    if code:
        assert caught.value.code == code


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a": 1,}',
        b"\xff",
        b'{"a": "\x00"}',
        b"[" * 100_000,
        b'{"a": 1e99999999999999999999}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        codec.parse(raw)


def test_free_json_has_a_depth() -> None:
    deep = '{"properties": {"a": ' + "[" * 40 + "]" * 40 + "}}"
    with pytest.raises(InvalidInput) as caught:
        read(deep)
    assert caught.value.field is not None
    assert caught.value.field.startswith("properties.a[0][0]")


def test_an_item_is_read_later_and_fails_alone() -> None:
    body = read('{"items": [{"up_to": NaN}, {"up_to": 1}, {"up_to": 1, "up_to": 2}]}')
    outcomes: list[object] = []
    for item in body.items:
        try:
            outcomes.append(codec.typed(Tier, item).up_to)
        except AbaxusError as error:
            outcomes.append(error.field)
    assert outcomes == ["up_to", Decimal(1), "up_to"]


def test_instants_come_out_in_utc() -> None:
    assert read('{"at": "2026-04-01T02:00:00+02:00"}').at == datetime(2026, 4, 1, tzinfo=UTC)


def test_each_member_of_a_union_is_read_by_its_own_rules() -> None:
    assert read('{"grant": {"kind": "counted", "value": "1.50"}}').grant == Counted(Decimal("1.50"))
    assert read('{"grant": {"kind": "named", "value": "1_0"}}').grant == Named("1_0")


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    at: datetime | None = None
    name: str | None = None


@pytest.mark.parametrize(
    ("pairs", "field"),
    [
        ([("limit", "0")], "limit"),
        ([("limit", "abc")], "limit"),
        ([("limit", "1_0")], "limit"),
        ([("limit", "1"), ("limit", "2")], "limit"),
        ([("at", "1700000000")], "at"),
        ([("name", "a\x00")], "name"),
        ([("nmae", "a")], "nmae"),
    ],
)
def test_a_query_is_refused_by_name(pairs: list[tuple[str, str]], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        codec.typed_query(Query, pairs)
    assert caught.value.field == field


class Shown(msgspec.Struct, frozen=True):
    value: Decimal
    free: dict[str, object]
    at: datetime


def test_answers_are_plain() -> None:
    shown = Shown(
        Decimal("0.00000010"),
        {"total": Decimal("1E+3"), "text": "x"},
        datetime(2026, 4, 1, tzinfo=UTC),
    )
    assert codec.encode(shown) == (
        b'{"value":"0.0000001","free":{"total":"1000","text":"x"},"at":"2026-04-01T00:00:00Z"}'
    )


def test_equal_trees_have_one_spelling() -> None:
    one = codec.parse(b'{"a": 1.50, "b": "\\ud800"}')
    other = codec.parse(b'{ "b":"\\ud800","a":1.50}')
    assert codec.canonical(one) == codec.canonical(other)


def test_a_pattern_is_said_in_words() -> None:
    with pytest.raises(InvalidInput) as of_an_id:
        read('{"id": "a b"}')
    assert of_an_id.value.field == "id"
    assert of_an_id.value.message == "must be 1 to 128 characters of A-Z a-z 0-9 _ - . :"

    with pytest.raises(InvalidInput) as of_another:
        codec.typed(Colour, {"code": "red"})
    assert of_another.value.field == "code"
    assert of_another.value.message == "is not of the form that this field takes"
