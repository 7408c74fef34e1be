"""The README's first calls, made as they stand there, give what it says they give."""

import re
from pathlib import Path

import httpx

from abaxus_core.kernel.clock import system_clock
from tests.support.api import serving
from tests.support.metering import land_all
from tests.support.postgres import TestDatabases

README = Path(__file__).parents[2] / "README.md"
CALL = re.compile(r"curl -s \$api(?P<path>/\S+) -H \"\$auth\" --json '(?P<body>[^']+)'")
CALLS = ("/metrics", "/price-plans", "/customers", "/subscriptions", "/events", "/invoices")


async def test_first_calls_end_in_the_invoice_that_is_promised(databases: TestDatabases) -> None:
    calls = [(found["path"], found["body"]) for found in CALL.finditer(README.read_text())]
    assert tuple(path for path, _ in calls) == CALLS
    async with serving(databases, system_clock) as api:
        for path, body in calls:
            answer = await _post(api.client, path, body)
            await land_all(api.contexts["live"])
    assert answer["total_amount"] == 15775
    assert [line["amount"] for line in answer["line_items"]] == [4900, 10875]


async def _post(client: httpx.AsyncClient, path: str, body: str) -> dict[str, object]:
    headers = {"Content-Type": "application/json"}
    response = await client.post(f"/v1{path}", content=body, headers=headers)
    assert response.is_success, response.text
    answer: dict[str, object] = response.json()
    return answer
