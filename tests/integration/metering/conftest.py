"""A context on a fresh database with a catalogue to meter against."""

import pytest

from abaxus_core.kernel.database import Database
from abaxus_core.services.work import Context
from tests.support.clock import FakeClock
from tests.support.metering import context_of, make_catalogue


@pytest.fixture
async def context(live: Database, clock: FakeClock) -> Context:
    await make_catalogue(live)
    return context_of(live, clock)
