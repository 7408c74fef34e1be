"""The application over a fresh database, for every test of the HTTP side."""

from collections.abc import AsyncIterator

import pytest

from tests.support.api import Api, serving
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases


@pytest.fixture
async def api(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Api]:
    async with serving(databases, clock) as api:
        yield api
