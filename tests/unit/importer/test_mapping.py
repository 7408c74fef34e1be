"""Flags, headers and members: what becomes which field, and what each refusal names."""

import json

import pytest

from abaxus_core.errors import InvalidInput
from abaxus_core.importer.mapping import AS_NAMED, Mapping, Objects, Rows, Unmapped, parse_mapping

OWN = ["customer_id", "metric_key", "value", "timestamp", "idempotency_key"]
EVENT = {"customer_id": "UA", "metric_key": "m", "value": "1", "timestamp": "t"} | {
    "idempotency_key": "k"
}


def mapping_of(*flags: str) -> Mapping:
    """The mapping of flags written as on the command line."""
    said: dict[str, list[str]] = {"column": [], "constant": [], "property": []}
    for flag in flags:
        name, _, value = flag.removeprefix("--").partition(" ")
        said[name].append(value)
    return parse_mapping(
        columns=said["column"], constants=said["constant"], properties=said["property"]
    )


def row(mapping: Mapping, **cells: str) -> object:
    return json.loads(Rows(mapping, list(cells)).event_of(list(cells.values())))


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--column customer=a"], "--column customer=a: there is no field 'customer'"),
        (["--column properties.=a"], "--column properties.=a: there is no field 'properties.'"),
        (["--constant properties=a"], "--constant properties=a: there is no field 'properties'"),
        (["--column value"], "--column value: must have the form"),
        (["--constant value="], "--constant value=: must have the form"),
        (["--property =a"], "--property =a: must have the form"),
        (["--column value=a", "--column value=b"], "--column value=b: another flag gives value"),
        (["--column value=a", "--constant value=1"], "--constant value=1: another flag"),
        (["--property a", "--column properties.a=b"], "--property a: another flag"),
    ],
)
def test_a_wrong_flag_is_named(flags: list[str], why: str) -> None:
    with pytest.raises(InvalidInput) as told:
        mapping_of(*flags)
    assert told.value.message.startswith(why)


def test_columns_carry_the_names_of_fields() -> None:
    assert row(AS_NAMED, **EVENT) == EVENT
    assert row(AS_NAMED, **EVENT, **{"properties.a": "1", "subscription_id": ""}) == EVENT | {
        "properties": {"a": "1"}
    }


def test_flags_come_before_names() -> None:
    mapping = mapping_of(
        "--column customer_id=account",
        "--constant metric_key=x=y",
        "--constant properties.via=till",
        "--property area",
        "--property region=area",
    )
    assert row(mapping, **EVENT, account="DL", area="north", **{"properties.b": "2"}) == EVENT | {
        "customer_id": "DL",
        "metric_key": "x=y",
        "properties": {"b": "2", "area": "north", "region": "north", "via": "till"},
    }


def test_what_nothing_comes_from_is_left_aside_only_where_flags_say_what_is_wanted() -> None:
    header = [*OWN, "clerk"]
    assert Rows(mapping_of("--column customer_id=value"), header).left_aside == (
        "customer_id",
        "clerk",
    )
    with pytest.raises(InvalidInput, match=r"no field 'clerk'.*--property clerk"):
        Rows(AS_NAMED, header)


@pytest.mark.parametrize(
    ("flags", "header", "why"),
    [
        ([], ["value", "x"], "lacks customer_id, metric_key, timestamp, idempotency_key; it has"),
        ([], [], "it has no columns"),
        (["--property p=q"], OWN, r"no column 'q' \(--property p=q\); the header has customer_id"),
        (["--column value=v"], OWN, r"no column 'v' \(--column value=v\)"),
        (["--property p"], [*OWN, "p", "p"], r"column 'p' \(--property p\) stands more than once"),
        ([], [*OWN, "value"], "column 'value' stands more than once"),
        (["--column value=v"], [f"c{n}" for n in range(99)], "c19, …$"),
    ],
)
def test_a_header_that_does_not_fit_the_flags(
    flags: list[str], header: list[str], why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        Rows(mapping_of(*flags), header)


def test_members_pass_through_as_they_are_written() -> None:
    mapping = mapping_of("--column value=amount", "--property size", "--constant metric_key=m")
    line = b'{"amount": 1.10e0, "size": {"b":1.0}, "other": 1, "timestamp": null}'
    assert Objects(mapping).event_of(line) == (
        b'{"value":1.10e0,"timestamp":null,"metric_key":"m","properties":{"size":{"b":1.0}}}'
    )


@pytest.mark.parametrize("own", [b"null", b"{}"])
def test_a_property_needs_no_properties_of_its_own(own: bytes) -> None:
    line = b'{"a": 1, "properties": ' + own + b"}"
    assert Objects(mapping_of("--property a")).event_of(line) == b'{"properties":{"a":1}}'
    assert Objects(mapping_of("--property b")).event_of(line) == b'{"properties":' + own + b"}"


def test_a_member_that_a_flag_promises_is_missed() -> None:
    with pytest.raises(Unmapped, match=r"no member 'amount' \(--column value=amount\)"):
        Objects(mapping_of("--column value=amount")).event_of(b"{}")
    with pytest.raises(Unmapped, match="is not an object"):
        Objects(mapping_of("--property a")).event_of(b'{"a": 1, "properties": [1]}')
