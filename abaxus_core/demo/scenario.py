"""The demo, step by step, over the HTTP API: set up, bill a month, collect one invoice.

Every step may be run again: what exists is left as it is, and nothing is billed twice.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from abaxus_core.demo import catalogue
from abaxus_core.demo.client import ApiClient

CUTOFF_DATE = "2013-01-31"
POLL_MS = 100
WAIT_S_MAX = 600

Invoice = dict[str, Any]


def set_up(api: ApiClient) -> None:
    """Make the metrics, the plan, the airlines and their subscriptions."""
    for metric in catalogue.METRICS:
        api.create("/v1/metrics", metric, exists="METRIC_KEY_DUPLICATE")
    plans = {plan["id"] for plan in api.pages("/v1/price-plans")}
    if catalogue.PLAN_ID not in plans:
        api.post("/v1/price-plans", catalogue.PLAN)
    for airline_id in catalogue.AIRLINES:
        api.create("/v1/customers", catalogue.customer(airline_id), exists="CUSTOMER_ID_DUPLICATE")
        api.create(
            "/v1/subscriptions", catalogue.subscription(airline_id), exists="METRIC_ALREADY_PRICED"
        )


def is_billed(api: ApiClient) -> bool:
    """Whether an earlier start has invoiced the month, so that its usage is there."""
    return bool(api.get("/v1/invoices", limit=1)["data"])


def wait_until_metered(api: ApiClient) -> None:
    """Return when the worker has landed every accepted event."""
    _wait(lambda: _queued_events(api) == 0, "events to land")


def bill(api: ApiClient, cutoff_date: str = CUTOFF_DATE) -> dict[str, Any]:
    """Run the bulk invoice job up to the cutoff and return it, completed."""
    job = api.post("/v1/invoices/bulk", {"cutoff_date": cutoff_date})
    _wait(lambda: _job(api, job)["status"] not in ("queued", "running"), "the bulk run")
    return _job(api, job)


def largest_invoice(api: ApiClient) -> Invoice:
    """The invoice with the highest total, whole."""
    invoices = api.pages("/v1/invoices")
    largest = max(invoices, key=lambda invoice: invoice["total_amount"])
    return _invoice(api, largest["id"])


def charge(api: ApiClient, invoice: Invoice) -> Invoice:
    """Collect the invoice through its customer's provider."""
    charged: Invoice = api.post(f"/v1/invoices/{invoice['id']}/charge")
    return charged


def verify(api: ApiClient, invoice: Invoice) -> dict[str, Any]:
    """Have the invoice derived again from raw events."""
    verification: dict[str, Any] = api.post(f"/v1/invoices/{invoice['id']}/verify")
    return verification


def send(api: ApiClient, invoice: Invoice) -> None:
    """Have the invoice mailed."""
    api.post(f"/v1/invoices/{invoice['id']}/send")


def mails(outbox_dir: Path) -> list[Path]:
    """The mails that were written, once there is one."""
    _wait(lambda: any(outbox_dir.glob("*.eml")), "the mail")
    return sorted(outbox_dir.glob("*.eml"))


def usage(api: ApiClient, customer_id: str) -> dict[str, str]:
    """Quantity of each metric in the billed month."""
    summary = api.get(
        "/v1/usage/summary",
        customer_id=customer_id,
        period_start="2013-01-01T00:00:00Z",
        period_end="2013-02-01T00:00:00Z",
    )
    return {entry["metric_key"]: entry["value"] for entry in summary["usage"]}


def _queued_events(api: ApiClient) -> int:
    airline_id = next(iter(catalogue.AIRLINES))
    summary = api.get("/v1/usage/summary", customer_id=airline_id)
    queued: int = summary["meta"]["queued_events"]
    return queued


def _job(api: ApiClient, job: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = api.get(f"/v1/jobs/{job['id']}")
    return answer


def _invoice(api: ApiClient, invoice_id: str) -> Invoice:
    invoice: Invoice = api.get(f"/v1/invoices/{invoice_id}")
    return invoice


def _wait(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WAIT_S_MAX} s for {what}")
        time.sleep(POLL_MS / 1000)
