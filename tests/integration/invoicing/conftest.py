"""Books to keep, over the real application on a fresh database."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import serving
from tests.support.books import Books
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases


@pytest.fixture
async def books(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Books]:
    async with serving(databases, clock, API_RATE_LIMIT_RPM="0") as api:
        yield Books(api)
