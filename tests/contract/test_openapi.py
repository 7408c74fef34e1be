"""The running API against its own description: no 5xx, no answer that is not documented.

Half of the requests are what the description allows, half are not; half name things that exist,
half do not.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from abaxus_core.http import app
from abaxus_core.services.telemetry import Telemetry
from tests.support.api import bearer, new_key
from tests.support.clock import FakeClock
from tests.support.metering import context_of
from tests.support.postgres import TestDatabases
from tests.support.servers import served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
EXAMPLES_MAX = int(os.environ.get("ABAXUS_TEST_API_EXAMPLES", "8"))
SEED = int(os.environ.get("ABAXUS_TEST_API_SEED", "20260501"))

EXISTING: Mapping[str, str] = {
    "customer_id": "acme",
    "plan_id": "growth",
    "metric_key": "calls",
    "feature_key": "seats",
}
CATALOGUE: tuple[tuple[str, dict[str, object]], ...] = (
    ("/v1/metrics", {"key": "calls", "aggregation": "sum"}),
    (
        "/v1/price-plans",
        {
            "id": "growth",
            "name": "Growth",
            "currency": "usd",
            "billing_period": "monthly",
            "charges": [
                {"pricing_model": "flat_fee", "metric_key": None, "amount": "49.00"},
                {
                    "pricing_model": "tiered",
                    "metric_key": "calls",
                    "tiers": [
                        {"up_to": 1000, "unit_price": "0.01"},
                        {"up_to": None, "unit_price": "0.005"},
                    ],
                },
            ],
            "entitlements": [
                {"feature_key": "seats", "type": "limit", "limit": 5, "metric_key": "calls"}
            ],
        },
    ),
    ("/v1/customers", {"id": "acme", "email": "billing@acme.example"}),
    (
        "/v1/subscriptions",
        {"customer_id": "acme", "plan_id": "growth", "start_date": "2026-03-01"},
    ),
    ("/v1/invoices", {"customer_id": "acme", "cutoff_date": "2026-03-31"}),
    (
        "/v1/entitlements/reservations",
        {"customer_id": "acme", "feature_key": "seats", "quantity": 2},
    ),
)


@asynccontextmanager
async def listening(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[tuple[str, str]]:
    """The API on a port of this machine: its address and a key for everything."""
    contexts = {
        mode: context_of(database, clock, API_RATE_LIMIT_RPM="0")
        for mode, database in (("live", databases.live), ("test", databases.test))
    }
    key = await new_key(contexts["live"], "admin")
    asgi = app.build(contexts, contexts["live"].settings, Telemetry())
    async with served(asgi) as up:
        yield up.url, key


async def make_catalogue(client: httpx.AsyncClient) -> dict[str, str]:
    """What requests can name; by the name of the part of the path."""
    made: dict[str, str] = {}
    for path, body in CATALOGUE:
        response = await client.post(path, json=body)
        assert response.status_code == 201, response.text
        made[path] = response.json()["id"]
    made["/v1/metrics"] = "calls"
    key = await client.post("/v1/api-keys", json={"name": "spare", "scopes": ["read"]})
    made["/v1/api-keys"] = key.json()["id"]
    return made


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_the_api_does_what_it_says(
    databases: TestDatabases, clock: FakeClock, mode: GenerationMode
) -> None:
    async with listening(databases, clock) as (address, key):
        async with httpx.AsyncClient(base_url=address, headers=bearer(key)) as client:
            made = await make_catalogue(client)
            described = msgspec.json.decode((await client.get("/openapi.json")).content)
        answered = await asyncio.to_thread(exercise, described, address, key, made, mode)
    assert len(answered) > 30
    print(f"{mode.value}: {sum(answered.values())} requests to {len(answered)} operations")


def exercise(
    described: dict[str, Any], address: str, key: str, made: dict[str, str], mode: GenerationMode
) -> dict[str, int]:
    """How many requests each operation answered as described; raises the first that was not."""
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=address)
    # Wrong keys are test_auth.py's: here they would keep wrong requests from coming in.
    schema.config.generation.update(with_security_parameters=False)
    answered: dict[str, int] = {}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()

        def check(case: Any, existing: bool) -> None:
            if existing:
                name_what_exists(case, made)
            case.call_and_validate(headers=bearer(key), checks=CHECKS)
            answered[case.operation.label] = answered.get(case.operation.label, 0) + 1

        # Where there is nothing to get wrong, there is no wrong request.
        with suppress(Unsatisfiable):
            drawn(operation.as_strategy(generation_mode=mode), check)
    return answered


def drawn(cases: st.SearchStrategy[Any], check: Callable[[Any, bool], None]) -> None:
    """Run `check` on some cases, the same ones each time."""
    run = given(case=cases, existing=st.booleans())(check)
    bounded = settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(SEED)(bounded(run))()


def name_what_exists(case: Any, made: dict[str, str]) -> None:
    for path, name in made.items():
        if case.operation.path.startswith(path + "/{"):
            for part in case.path_parameters or {}:
                case.path_parameters[part] = 1 if part == "n" else name
    for place in (case.query, case.body):
        if isinstance(place, dict):
            place.update({each: EXISTING[each] for each in EXISTING if each in place})
