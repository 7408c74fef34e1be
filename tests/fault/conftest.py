"""Books on a database that keeps its promises, at one office or at several."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from abaxus_core.kernel.database import open_databases
from tests.support.books import Books, keeping
from tests.support.clock import FakeClock
from tests.support.postgres import SETTINGS, TestDatabases

OFFICES = 3


@pytest.fixture
async def books(durable_databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Books]:
    async with keeping(durable_databases, clock) as books:
        yield books


@pytest.fixture
async def offices(
    durable_databases: TestDatabases, clock: FakeClock, books: Books
) -> AsyncIterator[Sequence[Books]]:
    """The same books at OFFICES, each with connections of its own."""
    async with AsyncExitStack() as stack:
        opened = [books]
        for _ in range(OFFICES - 1):
            databases = await stack.enter_async_context(
                open_databases(durable_databases.dsn, SETTINGS)
            )
            of_its_own = TestDatabases(dsn=durable_databases.dsn, open=databases)
            opened.append(await stack.enter_async_context(keeping(of_its_own, clock)))
        yield opened
