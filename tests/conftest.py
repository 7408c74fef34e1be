"""Fixtures: a PostgreSQL cluster a session, a migrated database a test, a clock, ids."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from abaxus_core.kernel import event_loop
from abaxus_core.kernel.database import Database
from abaxus_core.kernel.embedded_postgres import DURABLE, THROW_AWAY
from abaxus_core.kernel.ids import Ids
from abaxus_core.services.entitlements import keeper
from tests.support.clock import FakeClock
from tests.support.postgres import Cluster, TestDatabases, fresh_databases, running_server
from tests.support.servers import ASGI_SERVER

# What is a process of ours inherits it, or takes it from `servers` where it inherits nothing.
os.environ["ASGI_SERVER"] = ASGI_SERVER


# Where the conformance kit watches Python's own sockets, which uvloop does without.
ON_PYTHON_SOCKETS = {"contract", "support", "test_canaries.py"}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that processes run on, wherever they can."""
    if ON_PYTHON_SOCKETS & {*item.path.relative_to(Path(__file__).parent).parts}:
        return {"asyncio": asyncio.new_event_loop}
    return {"ours": event_loop.new_event_loop}


@pytest.fixture(autouse=True)
def each_check_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test lands or changes by hand is told by the next check, not some 50 ms later.

    Processes that tests start give what they have at hand, as ever; so do test_checks_at_hand.py
    and those that ask for it.
    """
    monkeypatch.setattr(keeper, "KEPT_FOR_MS", 0)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A throw-away server, fsync off."""
    with running_server(THROW_AWAY) as server:
        yield Cluster(server)


@pytest.fixture(scope="session")
def durable_cluster() -> Iterator[Cluster]:
    """A server that keeps its promises, fsync on: for fault tests."""
    with running_server(DURABLE) as server:
        yield Cluster(server)


@pytest.fixture
async def databases(cluster: Cluster) -> AsyncIterator[TestDatabases]:
    """A fresh migrated database: `.live`, `.test`, `.dsn`."""
    async with fresh_databases(cluster) as databases:
        yield databases


@pytest.fixture(scope="module")
async def module_databases(cluster: Cluster) -> AsyncIterator[TestDatabases]:
    """One for a whole module, whose tests leave nothing behind that others would see."""
    async with fresh_databases(cluster) as databases:
        yield databases


@pytest.fixture
async def durable_databases(durable_cluster: Cluster) -> AsyncIterator[TestDatabases]:
    """The same on the durable server."""
    async with fresh_databases(durable_cluster) as databases:
        yield databases


@pytest.fixture
def live(databases: TestDatabases) -> Database:
    """Live mode of a fresh database."""
    return databases.live


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ids(clock: FakeClock) -> Ids:
    return Ids(clock)
