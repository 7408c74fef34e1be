"""January's flights through the whole product, against a re-rating that knows nothing of it."""

import asyncio
import csv
import json
from pathlib import Path

import pytest

from abaxus_core import dev
from abaxus_core.demo import catalogue, flights, scenario
from abaxus_core.demo.client import ApiClient
from abaxus_core.dev import Stack
from examples.airport import rerate
from examples.airport.__main__ import all_invoices, import_events, verify
from tests.support.ports import free_port
from tests.support.postgres import Cluster

MONTH = "2013-01"


@pytest.fixture
def january(tmp_path: Path) -> Path:
    """The shipped month as the flights.csv that it was cut from."""
    path = tmp_path / "flights.csv"
    with path.open("w", encoding="ascii", newline="") as lines:
        writer = csv.DictWriter(lines, flights.COLUMNS)
        writer.writeheader()
        writer.writerows(flights.january())
    return path


async def test_january_is_billed_to_the_cent_and_once(
    durable_cluster: Cluster, january: Path, tmp_path: Path
) -> None:
    events = tmp_path / "january.ndjson"
    events.write_text(
        "".join(json.dumps(event) + "\n" for event in flights.events_of(flights.january())),
        encoding="ascii",
    )
    environ = {"DATABASE_URL": await durable_cluster.create(migrated=False)}
    async with dev.stack(tmp_path / "stack", port=free_port(), environ=environ) as stack:
        await asyncio.to_thread(_bill_twice, stack, events, january)


def _bill_twice(stack: Stack, events: Path, january: Path) -> None:
    owed = rerate.rerate(january, tuple(catalogue.AIRLINES), [MONTH])
    with ApiClient(stack.url, stack.key) as api:
        scenario.set_up(api)
        import_events(stack, api, events)
        assert scenario.bill(api)["result"]["invoices_created"] == len(catalogue.AIRLINES)
        invoices = all_invoices(api)
        assert rerate.difference(owed, invoices) == 0
        assert sum(invoice["total_amount"] for invoice in invoices) == sum(owed.values())
        import_events(stack, api, events)
        assert scenario.bill(api)["result"]["invoices_created"] == 0
        assert all_invoices(api) == invoices
    assert verify(stack).findings == 0
