"""A customer with limits, over ASGI on a fresh database; tallies are right after each test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases
from tests.support.shop import Shop, out_of_step, shop_of


@pytest.fixture
async def shop(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Shop]:
    async with shop_of(databases, clock) as shop:
        yield shop
        assert await out_of_step(databases.live) == []
