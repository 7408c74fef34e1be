"""Reading fast changes nothing: what quick_events.py takes is what codec.py makes of it."""

from collections.abc import Sequence
from datetime import UTC
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.events import Event, properties_text
from abaxus_core.errors import AbaxusError
from abaxus_core.http import codec
from abaxus_core.http.events import NewBatch, NewEvent, event_of
from abaxus_core.http.quick_events import read_batch, read_event

ORDINARY: Final = {
    "customer_id": '"acme"',
    "metric_key": '"api_calls"',
    "value": "12.5",
    "timestamp": '"2026-04-10T12:00:00Z"',
    "idempotency_key": '"k-1"',
    "properties": '{"region":"eu","seats":3,"trial":false}',
    "subscription_id": '"sub_1"',
}
REQUIRED: Final = tuple(ORDINARY)[:5]
SPELT_LOOSELY: Final = (
    '"1_000"', '" 12"', '"12 "', '"\u00a012"', '"12\u2003"', '"+1"', '"１２"', '"٣"', '"1e2"',
    '"1E+2"', '".5"', '"5."', '"NaN"', '"sNaN"', '"Infinity"', '"-inf"', '"0x1f"', '""', '"-"',
    '"--1"', '"1,5"', '"\\u0031"', '"1\\n"', '"1\x00"',
)  # fmt: skip
VALUES: Final = (
    "1", "0", "-0", "-0.0", '"-0"', "12.50", '"12.50"', "00", "01", '"0012"', "1.", ".5", "+1", "-",
    "1e2", "1E2", "1e-5", "1e-7", "1E-10", "1e-11", "1.5e1", "1e400", "1e-400",
    "1e99999999999999999999", "0e0", "0.0e5", "9" * 28, "9" * 29, f'"{"9" * 28}"', f'"{"9" * 29}"',
    f'"{"0" * 27}1"', f'"{"0" * 30}1"', "0.1234567890", "0.12345678901", '"0.12345678901"',
    "1.00000000000", "9" * 5000, f"{'9' * 28}.{'9' * 10}", f"0.{'0' * 30}", "NaN", "Infinity",
    "-Infinity", "true", "false", "null", "[]", "{}", "[1]", "1 2",
)  # fmt: skip
TIMESTAMPS: Final = (
    "0", "1775822400", "1.5", "null",
    *(f'"{text}"'
    for text in (
        "2026-04-10T12:00:00+02:00", "2026-04-10T12:00:00-00:00", "2026-04-10T12:00:00+0530",
        "2026-04-10T12:00:00+05", "2026-04-10T12:00:00+23:59", "2026-04-10T12:00:00+24:00",
        "2026-04-10 12:00:00Z", "2026-04-10t12:00:00z", "2026-04-10T12:00:00", "2026-04-10",
        "2026-04-10T12:00Z", "2026-04-10T12:00:60Z", "2016-12-31T23:59:60Z", "2026-04-10T24:00:00Z",
        "2026-04-10T12:00:00.1234567Z", "2026-04-10T12:00:00.123456789012Z",
        "2026-04-10T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z", "2026-04-10T12:00:00,5Z",
        "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00-14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59+14:00", "10000-01-01T00:00:00Z", "1899-12-31T23:59:59Z",
        "2026-02-29T00:00:00Z", "2024-02-29T00:00:00Z", "2026-W15-5T00:00:00Z", "20260410T120000Z",
        "2026-04-10T12:00:00 +02:00", "２026-04-10T12:00:00Z", "", "now", "2026-04-10T12:00:00Z\\n",
    )),
)  # fmt: skip
TEXTS: Final = (
    '""', '" "', '"é"', '"日本"', '"\U0001f600"', '"e\u0301"', '"\x7f"', '"\x80"', '"\u2028"',
    '"\ufeff"', '"\ufffd"', '"\x00"', '"\x1f"', '"\t"', '"\n"', '"\\u0000"', '"\\ud800"',
    '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\\\"', '"\\""', '"\\/"', '"\\x"', '":"', '"a:b"',
    '"a\': \'b"', '"{}"', '"value"', '"value:1"', '"a b"', '"a/b"', '"a.b-c_d:e"', '"a,b"',
    f'"{"x" * 128}"', f'"{"x" * 129}"', f'"{"x" * 255}"', f'"{"x" * 256}"', f'"{"é" * 255}"',
    "1", "true", "null", "[]", "{}", "'a'", "a",
)  # fmt: skip
MANY: Final = "{" + ",".join(f'"p{number}":{number}' for number in range(70)) + "}"
PROPERTIES: Final = (
    "null", "{}", "[]", '""', "0", '{"":1}', '{"":""}', '{"a":null}', '{"a":[]}', '{"a":{}}',
    '{"a":1,"a":1}', '{"a":1,"\\u0061":1}', '{"value":"x"}', '{"value":"1_0"}', '{"value":"12"}',
    '{"value": "x"}', '{"a":1.5}', '{"a":1e5}', '{"a":1E400}', '{"a":-0}', '{"a":0.10}',
    f'{{"a":{2**53 + 1}}}', f'{{"a":{2**63 - 1}}}', f'{{"a":{2**63}}}', f'{{"a":{-(2**63)}}}',
    f'{{"a":{2**64}}}', f'{{"a":{-(2**63) - 1}}}', f'{{"a":{"1" * 41}}}', f'{{"a":{"1" * 309}}}',
    f'{{"a":{"1" * 310}}}', f'{{"a":{"1" * 4301}}}', f'{{"a":-{"1" * 310}}}', '{"a":NaN}',
    '{"a":01}', '{"a":true,"b":false}', '{"a":"true"}', '{"b":1,"a":2}', '{"\\u0000":1}',
    '{"\\ud800":1}', '{"a":"\\ud800"}', '{"a\x00":1}', '{":":1}', '{"a":":"}',
    '{"a":"\\"value\\":"}',
    '{"customer_id":"acme"}', '{"properties":{"a":1}}', f"{'[' * 40}{']' * 40}",
    '{"a":' * 33 + "1" + "}" * 33, '{"a":' * 32 + "1" + "}" * 32, f"{'[' * 5000}{']' * 5000}",
    MANY, f'{{"a":"{"x" * 20_000}"}}',
)  # fmt: skip
NASTY: Final = {
    "customer_id": TEXTS,
    "metric_key": TEXTS,
    "value": VALUES + SPELT_LOOSELY + TEXTS,
    "timestamp": TIMESTAMPS + TEXTS,
    "idempotency_key": TEXTS,
    "properties": PROPERTIES + TEXTS,
    "subscription_id": TEXTS,
}
BLANKS: Final = ("", "", "", " ", "  ", "\t", "\n", "\r\n", "\x0b", "\u00a0", "/**/")
FRAGMENTS: Final = (
    '"', '":', '": "', '","', ":", ",", "{", "}", "[", "]", "\\", "\\u0000", "\\ud800", " ", "\n",
    "\t", "0", "_", "e1", "-", "null", "true", '"value":', '"value": "1_0",', '"properties":{',
    '"subscription_id":null,', '"a":1,', "\x00", "\x7f", "\u00a0",
)  # fmt: skip
BROKEN_UTF_8: Final = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80", b"")

Member = tuple[str, str]


@st.composite
def members(draw: st.DrawFn) -> list[Member]:
    """The names and texts of an event that has up to three oddities."""
    given_names = [*REQUIRED, *(name for name in tuple(ORDINARY)[5:] if draw(st.booleans()))]
    texts = {name: ORDINARY[name] for name in given_names}
    for name in draw(st.lists(st.sampled_from(list(NASTY)), max_size=2)):
        texts[name] = draw(st.sampled_from(NASTY[name]))
    made = [(f'"{name}"', text) for name, text in texts.items()]
    match draw(st.integers(0, 12)):
        case 0:
            made.append(draw(st.sampled_from(made)))
        case 1:
            made.remove(draw(st.sampled_from(made)))
        case 2:
            made.append(draw(st.sampled_from([('"other"', "1"), ('"Value"', "1"), ('""', '""')])))
        case 3:
            place = draw(st.integers(0, len(made) - 1))
            name, text = made[place]
            made[place] = (f'"\\u{ord(name[1]):04x}{name[2:]}', text)
        case 4:
            name, text = draw(st.sampled_from(made))
            made.append((f'"\\u{ord(name[1]):04x}{name[2:]}', text))
    return draw(st.permutations(made))


@st.composite
def event_texts(draw: st.DrawFn) -> str:
    """An event as JSON, or nearly so, blanks anywhere or in one style throughout."""
    made = draw(members())
    if draw(st.booleans()):
        after_colon, after_comma = draw(
            st.sampled_from([("", ""), (" ", " "), (" ", ""), ("", " ")])
        )
        return "{" + f",{after_comma}".join(f"{n}:{after_colon}{t}" for n, t in made) + "}"
    blanks = st.sampled_from(BLANKS)
    inside = ",".join(
        f"{draw(blanks)}{name}{draw(blanks)}:{draw(blanks)}{text}{draw(blanks)}"
        for name, text in made
    )
    return f"{draw(blanks)}{{{inside}}}{draw(blanks)}"


@st.composite
def batch_texts(draw: st.DrawFn) -> str:
    inside = draw(st.lists(event_texts(), max_size=4))
    form = draw(
        st.sampled_from(
            ['{"events":[%s]}'] * 6
            + [
                '{"events": [%s]}',
                '{"events":[%s],"more":1}',
                '{"events":[%s],"events":[]}',
                "[%s]",
            ]
        )
    )
    return form % draw(st.sampled_from([",", ", "])).join(inside)


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """A text with pieces cut out of it and others put in, now and then no UTF-8."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        after = start + draw(st.integers(0, 3))
        text = text[:start] + draw(st.sampled_from(FRAGMENTS)) + text[after:]
    raw = text.encode("utf-8")
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.sampled_from(BROKEN_UTF_8)) + raw[place + 1 :]
    return raw


def _exact(raw: bytes) -> Event | AbaxusError:
    """What the way through codec.py makes of one event."""
    try:
        return event_of(codec.typed(NewEvent, codec.parse(raw)))
    except AbaxusError as error:
        return error


def _exact_batch(raw: bytes) -> list[Event | AbaxusError] | AbaxusError:
    """What the way through codec.py makes of a batch, event by event."""
    try:
        items = codec.typed(NewBatch, codec.parse(raw)).events
    except AbaxusError as error:
        return error
    offers: list[Event | AbaxusError] = []
    for item in items:
        try:
            offers.append(event_of(codec.typed(NewEvent, item)))
        except AbaxusError as error:
            offers.append(error)
    return offers


def _told(offer: Event | AbaxusError) -> Sequence[object]:
    """An event to the last digit and type: 1 is not True, 12.50 is 12.5, and offsets are gone."""
    if isinstance(offer, AbaxusError):
        return [repr(offer)]
    return [
        offer.customer_id,
        offer.metric_key,
        plain(offer.value),
        offer.timestamp.astimezone(UTC).isoformat(),
        offer.idempotency_key,
        None if offer.properties is None else properties_text(offer.properties),
        offer.subscription_id,
    ]


def _text_of(**texts: str) -> str:
    chosen = {name: ORDINARY[name] for name in REQUIRED} | texts
    return "{" + ", ".join(f'"{name}": {text}' for name, text in chosen.items()) + "}"


def _check_one(raw: bytes) -> None:
    quick = read_event(raw)
    if quick is not None:
        assert _told(quick) == _told(_exact(raw))


@settings(max_examples=700)
@given(event_texts())
def test_an_event_read_quickly_is_the_event(text: str) -> None:
    _check_one(text.encode())


@settings(max_examples=700)
@given(damaged(event_texts()))
def test_a_damaged_event_read_quickly_is_the_event(raw: bytes) -> None:
    _check_one(raw)


@settings(max_examples=300)
@given(damaged(batch_texts()) | batch_texts().map(str.encode))
@example(b'{"events":[]}')
def test_a_batch_read_quickly_is_the_batch(raw: bytes) -> None:
    quick = read_batch(raw)
    if quick is not None:
        exact = _exact_batch(raw)
        assert not isinstance(exact, AbaxusError)
        assert [_told(offer) for offer in quick] == [_told(offer) for offer in exact]


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n ", "  "])
@pytest.mark.parametrize("name", list(NASTY))
def test_every_oddity_of_every_field(name: str, blank: str) -> None:
    for odd in NASTY[name]:
        raw = _text_of(**{name: odd}).replace(": ", f":{blank}").encode()
        _check_one(raw)
        quick = read_batch(b'{"events":[' + raw + b"]}")
        if quick is not None:
            assert [_told(each) for each in quick] == [_told(_exact(raw))]


@pytest.mark.parametrize("style", [(",", ":"), (", ", ": "), (",", ": ")])
def test_what_is_ordinary_is_read_quickly(style: tuple[str, str]) -> None:
    between, colon = style
    raw = ("{" + between.join(f'"{n}"{colon}{t}' for n, t in ORDINARY.items()) + "}").encode()
    one = read_event(raw)
    assert one is not None
    assert _told(one) == _told(_exact(raw))
    assert read_batch(b'{"events":[%s,%s]}' % (raw, raw)) == [one, one]


@pytest.mark.parametrize("value", ["12", "-0.5", '"12"', '"-0.000001"', "0", "9" * 28])
@pytest.mark.parametrize("offset", ["Z", "+02:00", "-11:30"])
def test_ordinary_values_and_offsets_are_read_quickly(value: str, offset: str) -> None:
    raw = _text_of(value=value, timestamp=f'"2026-04-10T12:00:00{offset}"').encode()
    one = read_event(raw)
    assert one is not None
    assert _told(one) == _told(_exact(raw))
