"""Servers and databases for tests: one throw-away cluster a session, a cloned database a test."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import msgspec

from abaxus_core.kernel import embedded_postgres, postgres_binaries
from abaxus_core.kernel.database import Database, Databases, PoolSettings, open_databases
from abaxus_core.kernel.embedded_postgres import Profile, Server
from abaxus_core.kernel.migrations import migrate
from abaxus_core.kernel.notifications import Listener

SHARED_MEMORY = Path("/dev/shm")
ROOM_BYTES_MIN = 2 << 30
STRATEGY_SINCE = 15
SETTINGS = PoolSettings(connections_max=20, ssl_mode="disable", application_name="abaxus-tests")
TEMPLATE = "template_migrated"


class TestDatabases(msgspec.Struct, frozen=True, kw_only=True):
    """A fresh database: both modes open, and how to open it once more."""

    __test__ = False

    dsn: str
    open: Databases

    @property
    def live(self) -> Database:
        return self.open.live

    @property
    def test(self) -> Database:
        return self.open.test

    @property
    def listener(self) -> Listener:
        return self.open.listener


class Cluster:
    """A server and its migrated template, from which databases are cloned one at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = asyncio.Lock()
        self._made = 0
        self._migrated = False

    async def create(self, *, migrated: bool = True) -> str:
        """The DSN of a new database."""
        async with self._lock:
            if migrated and not self._migrated:
                await self._create(TEMPLATE, "template1")
                await migrate(self.server.dsn(TEMPLATE), SETTINGS)
                self._migrated = True
            self._made += 1
            name = f"t{self._made}"
            await self._create(name, TEMPLATE if migrated else "template1")
        return self.server.dsn(name)

    async def drop(self, dsn: str) -> None:
        name = dsn.rpartition("/")[2].partition("?")[0]
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _create(self, name: str, template: str) -> None:
        major = postgres_binaries.major_version(self.server.bin_dir)
        strategy = "STRATEGY FILE_COPY" if major >= STRATEGY_SINCE else ""
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}')

    async def _execute(self, statement: str) -> None:
        conn = await asyncpg.connect(self.server.dsn())
        try:
            await conn.execute(statement)
        finally:
            await conn.close()


@contextmanager
def running_server(profile: Profile) -> Iterator[Server]:
    """A server in a folder of its own; ABAXUS_TEST_PG_BINDIR picks other binaries."""
    chosen = os.environ.get("ABAXUS_TEST_PG_BINDIR")
    with temporary_home() as home:
        bin_dir = Path(chosen) if chosen else None
        with embedded_postgres.running(home, profile=profile, bin_dir=bin_dir) as server:
            yield server


@contextmanager
def temporary_home() -> Iterator[Path]:
    roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > ROOM_BYTES_MIN
    parent = tempfile.mkdtemp(prefix="abaxus-test-", dir=SHARED_MEMORY if roomy else None)
    try:
        Path(parent).chmod(0o755)
        yield Path(parent) / "postgres"
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@asynccontextmanager
async def fresh_databases(cluster: Cluster) -> AsyncIterator[TestDatabases]:
    dsn = await cluster.create()
    try:
        async with open_databases(dsn, SETTINGS) as databases:
            yield TestDatabases(dsn=dsn, open=databases)
    finally:
        await cluster.drop(dsn)
