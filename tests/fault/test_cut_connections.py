"""Connections to the database are cut under callers who retry: one effect each, and no 500."""

import asyncio
from collections import Counter

import asyncpg
import httpx

from tests.support.api import Api, serving
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases

CALLERS = 8
REQUESTS_EACH = 50
ATTEMPTS_MAX = 1_000
CUT_EVERY_MS = 80

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def cut_until(done: asyncio.Event, dsn: str) -> int:
    """How often every connection to the database was cut."""
    conn = await asyncpg.connect(dsn)
    cuts = 0
    while not done.is_set():
        await conn.execute(CUT)
        cuts += 1
        await asyncio.sleep(CUT_EVERY_MS / 1000)
    await conn.close()
    return cuts


async def create_patiently(api: Api, customer_id: str) -> list[httpx.Response]:
    """Ask under one idempotency key until it is done; every answer on the way."""
    answers: list[httpx.Response] = []
    while len(answers) < ATTEMPTS_MAX:
        answers.append(
            await api.client.post(
                "/v1/customers",
                json={"id": customer_id},
                headers={"Idempotency-Key": customer_id},
            )
        )
        if answers[-1].status_code == 201:
            return answers
        await asyncio.sleep(0.005)
    raise AssertionError(f"{customer_id} was never made: {answers[-1].text}")


async def test_callers_who_retry_get_one_effect(databases: TestDatabases, clock: FakeClock) -> None:
    async with serving(databases, clock, API_RATE_LIMIT_RPM="0") as api:
        done = asyncio.Event()
        seen: Counter[tuple[int, str | None]] = Counter()

        async def call(caller: int) -> None:
            for number in range(REQUESTS_EACH):
                for answer in await create_patiently(api, f"c{caller}-{number}"):
                    code = None if answer.is_success else answer.json()["error"]["code"]
                    seen[answer.status_code, code] += 1

        cutting = asyncio.create_task(cut_until(done, databases.dsn))
        await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
        done.set()
        print(f"{await cutting} cuts: {dict(seen)}")
        assert set(seen) <= {(201, None), (503, "NOT_READY"), (409, "REQUEST_IN_PROGRESS")}
        async with databases.live.connection() as conn:
            made = await conn.fetchval("SELECT count(*) FROM customers")
            audited = await conn.fetchval(
                "SELECT count(*) FROM audit_log WHERE action = 'customer.created'"
            )
        assert made == audited == CALLERS * REQUESTS_EACH
