"""The events behind a line: those that it counts, no others, whatever came later."""

from datetime import UTC, datetime
from typing import Any

import pytest

from abaxus_core.http.paging import encode_cursor
from tests.support.api import bearer, error_of, new_key
from tests.support.books import BASE_FEE, CALLS, PER_CALL, Answer, Books
from tests.support.clock import FakeClock

PAGES_MAX = 20


@pytest.fixture
async def subscription(books: Books) -> str:
    """acme and beta pay a fee and per call from April on; acme's subscription."""
    await books.metric(**CALLS)
    await books.metric(key="bytes", aggregation="sum")
    per_byte = {**PER_CALL, "metric_key": "bytes", "unit_price": "0.000001"}
    await books.plan(BASE_FEE, PER_CALL, per_byte)
    await books.customer("beta")
    await books.subscribe("beta")
    await books.customer()
    return await books.subscribe()


def path_of(invoice: Answer, metric_key: str | None) -> str:
    """Where the events of the invoice's line for the metric are."""
    keys = [line["metric_key"] for line in invoice["line_items"]]
    return f"/v1/invoices/{invoice['id']}/lines/{keys.index(metric_key) + 1}/events"


def line_of(invoice: Answer, metric_key: str) -> Answer:
    found: Answer = next(line for line in invoice["line_items"] if line["metric_key"] == metric_key)
    return found


async def behind(books: Books, path: str, *, limit: int = 2) -> list[Any]:
    """All events behind a line, page by page, none of them longer than `limit`."""
    listed: list[Any] = []
    cursor: dict[str, str] = {}
    for _ in range(PAGES_MAX):
        page = await books.get(path, limit=limit, **cursor)
        assert len(page["data"]) <= limit
        listed += page["data"]
        if page["next_cursor"] is None:
            return listed
        cursor = {"cursor": page["next_cursor"]}
    raise AssertionError("the pages do not end")


async def timestamps(books: Books, path: str) -> list[str]:
    return [event["timestamp"] for event in await behind(books, path)]


async def test_exactly_what_the_line_counts_newest_first(books: Books, subscription: str) -> None:
    counted = [
        "2026-04-01T00:00:00Z",
        "2026-04-10T12:00:00Z",
        "2026-04-10T12:00:00Z",
        "2026-04-20T23:59:59.999999Z",
    ]
    for timestamp in ("2026-03-31T23:59:59.999999Z", *counted, "2026-04-21T00:00:00Z"):
        await books.use(100, timestamp)
    await books.use(7, counted[1], customer_id="beta")
    await books.use(9, counted[1], metric_key="bytes")
    invoice = await books.invoice("2026-04-20")
    path = path_of(invoice, "api_calls")
    assert line_of(invoice, "api_calls")["proof"]["event_count"] == len(counted)
    assert await timestamps(books, path) == counted[::-1]
    assert [event["value"] for event in await behind(books, path_of(invoice, "bytes"))] == ["9"]

    everything = (await books.get("/v1/events", customer_id="acme", metric_key="api_calls"))["data"]
    assert await behind(books, path) == everything[1:-1]


async def test_page_after_page_of_one(books: Books, subscription: str) -> None:
    """Events of one instant too, which only their order of arrival tells apart."""
    for number in range(4):
        await books.use(number + 1)
    invoice = await books.invoice()
    listed = await behind(books, path_of(invoice, "api_calls"), limit=1)
    assert [event["value"] for event in listed] == ["4", "3", "2", "1"]


async def test_what_landed_later_is_behind_the_next_line_only(
    books: Books, subscription: str
) -> None:
    await books.use(100, "2026-04-10T00:00:00Z")
    first = await books.invoice()
    await books.use(50, "2026-04-05T00:00:00Z")
    second = await books.invoice()
    assert line_of(second, "api_calls")["amount"] == 50
    assert await timestamps(books, path_of(first, "api_calls")) == ["2026-04-10T00:00:00Z"]
    assert await timestamps(books, path_of(second, "api_calls")) == [
        "2026-04-10T00:00:00Z",
        "2026-04-05T00:00:00Z",
    ]
    counts = [line_of(one, "api_calls")["proof"]["event_count"] for one in (first, second)]
    assert counts == [1, 2]


async def test_events_within_pauses_are_not_behind_the_line(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    clock.set(datetime(2026, 4, 10, tzinfo=UTC))
    amendments = f"/v1/subscriptions/{subscription}/amendments"
    for start, end in (("2026-04-11", "2026-04-13"), ("2026-04-20", "2026-04-22")):
        await books.post(amendments, type="pause", effective=start, resume_date=end)
    clock.set(datetime(2026, 5, 1, 12, tzinfo=UTC))
    for day in ("10", "11", "12", "13", "20", "22"):
        await books.use(100, f"2026-04-{day}T00:00:00Z")
    invoice = await books.invoice()
    proof = line_of(invoice, "api_calls")["proof"]
    assert (proof["event_count"], len(proof["pauses"])) == (3, 2)
    assert await timestamps(books, path_of(invoice, "api_calls")) == [
        "2026-04-22T00:00:00Z",
        "2026-04-13T00:00:00Z",
        "2026-04-10T00:00:00Z",
    ]


async def test_each_segment_has_its_own(books: Books, clock: FakeClock, subscription: str) -> None:
    clock.set(datetime(2026, 4, 10, tzinfo=UTC))
    await books.plan(BASE_FEE, {**PER_CALL, "unit_price": "0.02"})
    await books.post(
        f"/v1/subscriptions/{subscription}/amendments",
        type="plan_change",
        effective="2026-04-15",
        plan_id="growth",
    )
    clock.set(datetime(2026, 5, 1, 12, tzinfo=UTC))
    for day in ("14", "15", "16"):
        await books.use(100, f"2026-04-{day}T00:00:00Z")
    invoice = await books.invoice()
    places = [
        place
        for place, line in enumerate(invoice["line_items"], start=1)
        if line["metric_key"] == "api_calls"
    ]
    root = f"/v1/invoices/{invoice['id']}/lines"
    assert [await timestamps(books, f"{root}/{place}/events") for place in places] == [
        ["2026-04-14T00:00:00Z"],
        ["2026-04-16T00:00:00Z", "2026-04-15T00:00:00Z"],
    ]


async def test_lines_that_count_nothing_list_nothing(
    books: Books, clock: FakeClock, subscription: str
) -> None:
    """A fee, usage that is given back, and credit."""
    clock.set(datetime(2026, 4, 30, 12, tzinfo=UTC))
    await books.use(100, "2026-04-30T20:00:00Z")
    first = await books.invoice()
    assert await behind(books, path_of(first, None)) == []
    await books.post(
        f"/v1/subscriptions/{subscription}/amendments", type="cancel", effective="immediate"
    )
    back = await books.invoice()
    kinds = [(line["kind"], line["proof"]) for line in back["line_items"]]
    assert ("credit_applied", None) in kinds
    for place, line in enumerate(back["line_items"], start=1):
        listed = await behind(books, f"/v1/invoices/{back['id']}/lines/{place}/events")
        assert len(listed) == (line["proof"] or {"event_count": 0})["event_count"] == 0


async def test_what_is_not_there(books: Books, subscription: str) -> None:
    await books.use(100)
    invoice = await books.invoice()
    root = f"/v1/invoices/{invoice['id']}/lines"
    beyond = len(invoice["line_items"]) + 1
    cursors = [
        encode_cursor("2026-04-10T12:00:00Z", 2**63),
        encode_cursor("2026-04-10T12:00:00Z", -1),
        encode_cursor("0001-01-01T00:00:00+23:59", 1),
        encode_cursor(7),
    ]
    refusals = {
        "/v1/invoices/inv_none/lines/1/events": (404, "INVOICE_NOT_FOUND", None),
        f"{root}/{beyond}/events": (404, "LINE_NOT_FOUND", None),
        f"{root}/0/events": (422, "VALIDATION_FAILED", "n"),
        f"{root}/one/events": (422, "VALIDATION_FAILED", "n"),
    } | {
        f"{path}cursor={cursor}": (422, "VALIDATION_FAILED", "cursor")
        for path in (f"{root}/1/events?", "/v1/events?customer_id=acme&")
        for cursor in cursors
    }
    for path, refusal in refusals.items():
        assert error_of(await books.client.get(path)) == refusal, path


async def test_it_takes_the_scope_and_the_mode(books: Books, subscription: str) -> None:
    await books.use(100)
    invoice = await books.invoice()
    path = path_of(invoice, "api_calls")
    for context, scope, status in (
        (books.context, "read", 200),
        (books.context, "ingest", 403),
        (books.test_context, "admin", 404),
    ):
        key = await new_key(context, scope)
        response = await books.client.get(path, headers=bearer(key))
        assert response.status_code == status, scope
