"""What was issued can be derived again; whatever is corrupted of it is named."""

import json
import subprocess
import sys
from asyncio import to_thread
from datetime import timedelta

import pytest

from abaxus_core.http import verification
from abaxus_core.repositories import verification as pages
from abaxus_core.services import audit_seals, invoice_lines
from abaxus_core.services.verification import invoices, periods, run
from abaxus_core.services.verification.run import Report, Unseen, everything
from tests.support.books import BASE_FEE, CALLS, Answer, Books
from tests.support.clock import FakeClock
from tests.support.metering import fetch
from tests.support.postgres import TestDatabases

PER_SEAT = {"pricing_model": "per_unit", "metric_key": "seats", "unit_price": "1.5"}
PER_REGION = {
    "pricing_model": "package",
    "metric_key": "regions",
    "package_size": 2,
    "package_price": "3",
}
LATENCY = {
    "pricing_model": "volume",
    "metric_key": "latency",
    "tiers": [{"up_to": 10, "unit_price": "0.5"}, {"up_to": None, "unit_price": "0.25"}],
}
METRICS = (
    CALLS,
    {"key": "seats", "aggregation": "last"},
    {"key": "regions", "aggregation": "unique_count", "property": "region"},
    {"key": "latency", "aggregation": "percentile", "percentile": 95},
)


async def report_of(books: Books) -> Report:
    return await everything(books.context.database, Unseen(), now=books.context.clock())


async def corrupt(books: Books, statement: str) -> None:
    async with books.context.database.connection() as conn:
        changed = await conn.execute(statement)
    assert not changed.endswith(" 0"), "there was something to corrupt"


def invariants(report: Report) -> set[str]:
    return {finding.invariant for finding in report.findings}


@pytest.fixture
async def lived(books: Books, clock: FakeClock) -> Books:
    """A customer with a life: two invoices, late usage, a plan change, a payment, credit."""
    for metric in METRICS:
        await books.metric(**metric)
    tiers = [{"up_to": 10, "unit_price": "0.5"}, {"up_to": None, "unit_price": "0.1"}]
    tiered = {"pricing_model": "tiered", "metric_key": "api_calls", "tiers": tiers}
    fee = {**BASE_FEE, "billing": "in_advance"}
    limit = {"type": "limit", "feature_key": "calls", "metric_key": "api_calls", "limit": 100}
    await books.plan(fee, tiered, PER_SEAT, PER_REGION, LATENCY, entitlements=[limit])
    await books.plan(
        fee, tiered, PER_SEAT, PER_REGION, LATENCY, plan_id="scale", entitlements=[limit]
    )
    method = {"provider_customer_id": "cus_1", "provider_payment_method": "pm_ok"}
    await books.customer(payment_method=method)
    await books.customer("idle")
    subscription = await books.subscribe()
    for number in range(6):
        await books.use(7 + number, f"2026-04-{10 + number}T12:00:00Z")
        await books.use(
            number, f"2026-04-{10 + number}T13:00:00Z", metric_key="seats", properties={"a": 1.50}
        )
        await books.use(
            1,
            f"2026-04-{10 + number}T14:00:00Z",
            metric_key="regions",
            properties={"region": f"r{number % 3}", "size": 1e3},
        )
        await books.use(number, f"2026-04-{10 + number}T15:00:00Z", metric_key="latency")
    clock.set(clock() + timedelta(days=2))
    first = await books.invoice("2026-04-30")
    await books.post(f"/v1/invoices/{first['id']}/charge", 200)
    await books.use(-30, "2026-04-20T12:00:00Z")
    await books.post(
        f"/v1/subscriptions/{subscription}/amendments",
        type="plan_change",
        effective="immediate",
        plan_id="scale",
        prorate=True,
    )
    await books.use(3, "2026-05-01T00:00:00Z")
    clock.set(clock() + timedelta(days=40))
    await books.invoice("2026-05-31")
    await books.use(500, "2026-05-20T12:00:00Z")
    await books.invoice("2026-05-31")
    await live_on_credit(books)
    await audit_seals.seal(books.context)
    return books


async def live_on_credit(books: Books) -> None:
    """A customer who is billed, given back, and billed against what was given back."""
    await books.plan({**PER_SEAT, "metric_key": "api_calls"}, plan_id="calls")
    await books.customer("frank")
    await books.subscribe("frank", "calls")
    for value in (100, -60, 30):
        await books.use(value, customer_id="frank")
        await books.invoice(customer_id="frank")


async def test_what_nobody_touched_holds(lived: Books) -> None:
    report = await report_of(lived)
    assert report.findings == []
    assert (report.invoice_count, report.event_count) == (6, 30)
    for invoice in (await lived.get("/v1/invoices"))["data"]:
        answer = await lived.post(f"/v1/invoices/{invoice['id']}/verify", 200)
        assert answer["holds"], answer
        assert answer["event_count"] == sum(
            line["proof"]["event_count"] for line in invoice["line_items"] if line["proof"]
        )


LINE = "(SELECT ctid FROM invoice_lines WHERE pricing_model = '{}' ORDER BY invoice_id LIMIT 1)"
PER_UNIT = LINE.format("per_unit")
TIERED = LINE.format("tiered")
EVENT = "(SELECT min(arrival_no) FROM events WHERE metric_no = 1)"
FIRST_PAID = "(SELECT invoice_id FROM invoices WHERE number = 1)"
A_DAY = "ctid = (SELECT min(ctid) FROM usage_daily)"

MUTATIONS: dict[str, tuple[str, set[str]]] = {
    "an event's value": (
        f"UPDATE events SET value = value + 1 WHERE arrival_no = {EVENT}",
        {"event_matches_key", "line_matches_events", "line_matches_rating"}
        | {"rollup_matches_events", "period_billed_as_rated"},
    ),
    "an event's properties": (
        "UPDATE events SET properties = '{\"a\": 1.6}' WHERE metric_no = 2",
        {"event_matches_key"},
    ),
    "an event's instant": (
        (
            "UPDATE events SET occurred_at = occurred_at + interval '1 second'"
            f" WHERE arrival_no = {EVENT}"
        ),
        {"event_matches_key"},
    ),
    "an event's fingerprint": (
        f"UPDATE events SET payload_hash = payload_hash + 1 WHERE arrival_no = {EVENT}",
        {"event_matches_key", "event_once", "rollup_matches_events", "line_matches_events"},
    ),
    "an event that is gone": (
        f"DELETE FROM events WHERE arrival_no = {EVENT}",
        {"event_once", "line_matches_events", "line_matches_rating", "rollup_matches_events"}
        | {"period_billed_as_rated"},
    ),
    "an event that stands twice": (
        f"INSERT INTO events SELECT * FROM events WHERE arrival_no = {EVENT}",
        {"event_once", "line_matches_events", "line_matches_rating", "rollup_matches_events"}
        | {"period_billed_as_rated"},
    ),
    "a key that is gone": (
        "DELETE FROM event_keys WHERE ctid = (SELECT min(ctid) FROM event_keys)",
        {"event_matches_key", "event_once"},
    ),
    "a key's fingerprint": (
        "UPDATE event_keys SET payload_hash = 1 WHERE ctid = (SELECT min(ctid) FROM event_keys)",
        {"event_matches_key", "event_once"},
    ),
    "a rollup's sum": (
        f"UPDATE usage_daily SET value_sum = value_sum + 1 WHERE {A_DAY}",
        {"rollup_matches_events"},
    ),
    "a rollup's last event": (
        "UPDATE usage_daily SET last_event[3] = last_event[3] + 1 WHERE last_event IS NOT NULL",
        {"rollup_matches_events"},
    ),
    "a rollup that is gone": (f"DELETE FROM usage_daily WHERE {A_DAY}", {"rollup_matches_events"}),
    "a rollup of nothing": (
        (
            "INSERT INTO usage_daily SELECT customer_no, metric_no, day + 99, event_count, digest,"
            " value_sum, value_max, value_min, last_event, landing_no FROM usage_daily"
            f" WHERE {A_DAY}"
        ),
        {"rollup_matches_events"},
    ),
    "a line's digest": (
        f"UPDATE invoice_lines SET digest = digest + 1 WHERE ctid = {TIERED}",
        {"line_matches_events"},
    ),
    "a line's count": (
        f"UPDATE invoice_lines SET event_count = event_count + 1 WHERE ctid = {TIERED}",
        {"line_matches_events"},
    ),
    "a line's quantity": (
        f"UPDATE invoice_lines SET quantity = quantity + 1 WHERE ctid = {TIERED}",
        {"line_matches_events", "line_explained"},
    ),
    "a line's watermark": (
        "UPDATE invoice_lines SET watermark = 1 WHERE kind = 'usage'",
        {"line_matches_events", "line_matches_rating"},
    ),
    "a line's amount": (
        (
            "UPDATE invoice_lines SET amount_minor = amount_minor + 1, owed_minor = owed_minor + 1"
            f" WHERE ctid = {TIERED}"
        ),
        {"lines_sum_to_total", "line_matches_rating", "line_explained", "period_billed_as_rated"},
    ),
    "a line's exact amount": (
        f"UPDATE invoice_lines SET exact_amount = exact_amount + 0.001 WHERE ctid = {PER_UNIT}",
        {"line_matches_rating"},
    ),
    "a line that is gone": (
        f"DELETE FROM invoice_lines WHERE ctid = {TIERED}",
        {"lines_sum_to_total", "line_matches_rating", "period_billed_as_rated"},
    ),
    "a line's step": (
        (
            "UPDATE invoice_lines SET step = jsonb_set(step, '{unit_price}', '\"9\"')"
            f" WHERE ctid = {PER_UNIT}"
        ),
        {"line_matches_rating", "line_explained"},
    ),
    "a line's tier": (
        (
            "UPDATE invoice_lines SET tier_breakdown = jsonb_set(tier_breakdown, '{0,flat_amount}',"
            f" '\"1\"') WHERE ctid = {TIERED}"
        ),
        {"line_matches_rating", "line_explained"},
    ),
    "a line's charge": (
        f"UPDATE invoice_lines SET charge_id = 'chg_none' WHERE ctid = {PER_UNIT}",
        {"line_matches_rating", "period_billed_as_rated"},
    ),
    "a fee's step": (
        (
            "UPDATE invoice_lines SET step = jsonb_set(step, '{quantity}', '\"2\"')"
            " WHERE kind = 'flat_fee' AND period_start < '2026-05-01'"
        ),
        {"line_matches_rating", "line_explained"},
    ),
    "an invoice's total": (
        "UPDATE invoices SET total_minor = total_minor + 1 WHERE number = 2",
        {"lines_sum_to_total"},
    ),
    "an invoice's number": (
        "UPDATE invoices SET number = 9 WHERE number = 2",
        {"numbers_gapless"},
    ),
    "an invoice without a number": (
        "UPDATE invoices SET number = NULL WHERE number = 3",
        {"numbers_gapless"},
    ),
    "the counter": (
        "UPDATE counters SET value = value + 1 WHERE name = 'invoice'",
        {"numbers_gapless"},
    ),
    "credit": ("UPDATE customer_credits SET amount_minor = 1", {"lines_sum_to_total"}),
    "a price": (
        "UPDATE price_plan_versions SET charges = replace(charges::text, '1.5', '1.7')::jsonb",
        {"line_matches_rating", "period_billed_as_rated"},
    ),
    "a subscription's start": (
        "UPDATE subscriptions SET start_at = start_at - interval '1 month'",
        {"period_billed_as_rated", "entitlements_as_granted"},
    ),
    "what a plan grants": (
        (
            "UPDATE price_plan_versions SET entitlements ="
            " replace(entitlements::text, '100', '900')::jsonb"
        ),
        {"entitlements_as_granted"},
    ),
    "a resolved document": (
        (
            "UPDATE entitlement_documents SET document = jsonb_set(document, '{phases}',"
            """ '[{"until": null, "running": []}]') WHERE customer_no = 1"""
        ),
        {"entitlements_as_granted"},
    ),
    "a payment's amount": (
        "UPDATE payments SET amount_minor = amount_minor - 1",
        {"paid_once"},
    ),
    "a payment that is gone": ("DELETE FROM payments", {"paid_once"}),
    "an invoice that is paid and says issued": (
        "UPDATE invoices SET status = 'issued', paid_at = NULL WHERE number = 1",
        {"paid_once"},
    ),
    "an invoice that says paid and is not": (
        "UPDATE invoices SET status = 'paid', paid_at = now() WHERE number = 2",
        {"paid_once"},
    ),
}

# An event of May in the partition of April: nothing but an edit of the catalogue lets one in.
MISPLACED = """
    CREATE TABLE twin (LIKE events) PARTITION BY RANGE (occurred_at);
    CREATE TABLE bounds PARTITION OF twin FOR VALUES FROM ('2026-04-01Z') TO ('2026-05-01Z');
    ALTER TABLE events DETACH PARTITION events_2026_04;
    UPDATE events_2026_04 SET occurred_at = '2026-05-09T00:00:00Z'
    WHERE arrival_no = (SELECT min(arrival_no) FROM events_2026_04 WHERE metric_no = 1);
    INSERT INTO pg_inherits VALUES ('events_2026_04'::regclass, 'events'::regclass, 1, false);
    UPDATE pg_class SET relispartition = true, relpartbound = (
        SELECT relpartbound FROM pg_class WHERE oid = 'bounds'::regclass
    ) WHERE oid = 'events_2026_04'::regclass;
    DROP TABLE twin
"""


async def test_an_event_outside_its_partition_is_named(lived: Books) -> None:
    await corrupt(lived, MISPLACED)
    report = await report_of(lived)
    assert "event_in_partition" in invariants(report), report.findings


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_what_is_corrupted_is_named(lived: Books, mutation: str) -> None:
    statement, expected = MUTATIONS[mutation]
    await corrupt(lived, statement)
    report = await report_of(lived)
    assert invariants(report) == expected, report.findings


EDITED = """
    ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only;
    UPDATE audit_log SET actor = 'nobody' WHERE audit_no = 1
"""


async def test_an_edited_audit_entry_is_named(lived: Books) -> None:
    await corrupt(lived, EDITED)
    assert invariants(await report_of(lived)) == {"audit_chain_whole"}


async def test_a_finding_says_what_where_and_how(lived: Books) -> None:
    await corrupt(lived, f"UPDATE invoice_lines SET event_count = 9 WHERE ctid = {TIERED}")
    (finding,) = (await report_of(lived)).findings
    (invoice,) = (one for one in await all_invoices(lived) if one["number"] == "INV-000001")
    assert finding.invariant == "line_matches_events"
    assert finding.where == f"line 2 of invoice INV-000001 ({invoice['id']})"
    assert (finding.expected, finding.found) == ("6 events", "9")


async def all_invoices(books: Books) -> list[Answer]:
    invoices: list[Answer] = (await books.get("/v1/invoices"))["data"]
    return invoices


async def test_one_invoice_is_verified_by_itself(lived: Books) -> None:
    """An edit that only the events' own fingerprints tell, and an invoice that has none of them."""
    await corrupt(lived, "UPDATE events SET properties = '{\"a\": 1.6}' WHERE metric_no = 2")
    held = {}
    for invoice in await all_invoices(lived):
        answer = await lived.post(f"/v1/invoices/{invoice['id']}/verify", 200)
        held[invoice["number"]] = answer["holds"]
        if not answer["holds"]:
            assert {one["invariant"] for one in answer["findings"]} == {"line_matches_events"}
    assert held["INV-000001"] is False
    assert held["INV-000004"] is True


async def test_an_invoice_of_too_many_events_is_left_to_the_command(
    lived: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "EVENTS_PER_REQUEST_MAX", 10)
    path = f"/v1/invoices/{(await all_invoices(lived))[-1]['id']}/verify"
    assert await lived.refused(path) == (409, "TOO_MANY_EVENTS", None)
    assert await lived.refused("/v1/invoices/inv_none/verify") == (404, "INVOICE_NOT_FOUND", None)


async def test_it_stops_where_there_is_too_much_to_say(
    lived: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FINDINGS_MAX", 3)
    await corrupt(lived, "DELETE FROM event_keys")
    report = await report_of(lived)
    assert (len(report.findings), report.cut_off) == (3, True)


async def test_pages_of_any_size_find_the_same(
    lived: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days, customers, invoices and periods that are cut by the end of a page."""
    await corrupt(lived, f"UPDATE events SET value = 99 WHERE arrival_no = {EVENT}")
    whole = await report_of(lived)
    monkeypatch.setattr(pages, "EVENTS_AT_ONCE", 1)
    monkeypatch.setattr(pages, "ROLLUPS_AT_ONCE", 1)
    monkeypatch.setattr(run, "CUSTOMERS_AT_ONCE", 1)
    monkeypatch.setattr(invoices, "INVOICES_AT_ONCE", 1)
    monkeypatch.setattr(periods, "PERIODS_AT_ONCE", 1)
    monkeypatch.setattr(invoice_lines, "EVENTS_AT_ONCE", 1)
    assert await report_of(lived) == whole


def command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "abaxus_core.cli", "verify", *arguments],
        env={"DATABASE_URL": dsn, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


LOOKED_AT = "{} invoices, {} events and {} sealed audit entries looked at; 0 findings"


async def audit_entries(books: Books) -> int:
    ((count,),) = await fetch(books.context.database, "SELECT count(*) FROM audit_log")
    return int(str(count))


async def test_the_command_says_what_it_looked_at_and_found(
    databases: TestDatabases, lived: Books
) -> None:
    dsn = databases.dsn
    sound = await to_thread(command, dsn, "--all")
    assert (sound.returncode, sound.stderr) == (0, "")
    head, looked_at = sound.stdout.splitlines()
    assert head.startswith("The audit log's last seal is number 1, ")
    assert looked_at == LOOKED_AT.format(6, 30, await audit_entries(lived))
    empty = await to_thread(command, dsn, "--all", "--mode", "test")
    assert empty.stdout == LOOKED_AT.format(0, 0, 0) + "\n"

    await corrupt(lived, f"UPDATE invoice_lines SET event_count = 9 WHERE ctid = {TIERED}")
    told = await to_thread(command, dsn, "--all")
    assert told.returncode == 1
    heading, finding, *_ = told.stdout.splitlines()
    assert heading.split() == ["invariant", "where", "expected", "found"]
    assert finding.startswith("line_matches_events  line 2 of invoice INV-000001")
    (invoice,) = (one for one in await all_invoices(lived) if one["number"] == "INV-000001")
    as_json = await to_thread(command, dsn, "--invoice", invoice["id"], "--json")
    assert as_json.returncode == 1
    report = json.loads(as_json.stdout)
    assert (report["holds"], report["cut_off"], report["invoice_count"]) == (False, False, 1)
    assert report["findings"][0]["found"] == "9"


async def test_the_command_asks_for_what_it_needs(databases: TestDatabases) -> None:
    assert (await to_thread(command, databases.dsn)).returncode == 2
    unknown = await to_thread(command, databases.dsn, "--invoice", "inv_none")
    assert (unknown.returncode, unknown.stderr) == (1, "abaxus: there is no invoice inv_none\n")
