"""Books to keep, over the real application on a fresh database, with providers to collect by."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from abaxus_plugins.outbox.sender import Outbox
from tests.support.books import Books, keeping
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases


@pytest.fixture
async def books(databases: TestDatabases, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Books]:
    async with keeping(databases, clock, sender=Outbox(tmp_path / "outbox")) as books:
        yield books
