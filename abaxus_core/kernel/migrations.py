"""Forward-only migrations from `sql/migrations/NNNN_words.sql`.

The first lines of a file say how it runs:

    -- abaxus: scope control|mode     once, or once in each mode's schema (required)
    -- abaxus: breaking               older releases must not start on the result
    -- abaxus: no-transaction         for CREATE INDEX CONCURRENTLY; one statement, IF NOT EXISTS

A file is one transaction for all its schemas, recorded with its checksum, and never edited after
release. Any number of processes may migrate at once: an advisory lock lets one at a time through,
and the next finds nothing left to do.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence

import asyncpg
import msgspec
import structlog

from abaxus_core.errors import ConfigurationError, NotReady
from abaxus_core.kernel.database import MODES, Connection, PoolSettings, connect, schema_of
from abaxus_core.kernel.sql import folder, queries

_sql = queries("migrations")
_lock = _sql.exec("lock")
_unlock = _sql.exec("unlock")
_create_control_schema = _sql.exec("create_control_schema")
_create_live_schema = _sql.exec("create_live_schema")
_create_test_schema = _sql.exec("create_test_schema")
_create_record = _sql.exec("create_record")
_is_recorded = _sql.one("is_recorded")
_applied = _sql.many("applied")
_record = _sql.exec("record")
_set_search_path = _sql.exec("set_search_path")
_set_lock_timeout = _sql.exec("set_lock_timeout")
_invalid_indexes = _sql.many("invalid_indexes")

_log = structlog.get_logger("abaxus.migrations")

ADVISORY_LOCK_KEY = 0x616261787573
LOCK_TIMEOUT_MS = 5_000
LOCK_ATTEMPTS_MAX = 12
LOCK_RETRY_DELAY_MS = 500

_FILE = re.compile(r"^(?P<number>\d{4})_[a-z0-9_]+$")
_DIRECTIVE = re.compile(r"^-- abaxus: (?P<directive>.+)$")
_SCOPES = {"scope control": ("abaxus",), "scope mode": tuple(schema_of(mode) for mode in MODES)}


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `schemas`: where it runs, in order."""

    number: int
    name: str
    schemas: tuple[str, ...]
    breaking: bool
    in_transaction: bool
    text: str
    checksum: bytes


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What the database remembers of a migration."""

    number: int
    name: str
    checksum: bytes
    breaking: bool


def released() -> list[Migration]:
    """The migrations this release brings, in order."""
    paths = sorted((folder() / "migrations").glob("*.sql"))
    found = [parse(path.stem, path.read_text(encoding="utf-8")) for path in paths]
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ConfigurationError(["the migrations are not numbered 1, 2, 3 and so on"])
    return found


def parse(name: str, text: str) -> Migration:
    """The migration that a file of this name and text is."""
    named = _FILE.match(name)
    directives = _directives(text)
    scopes = [_SCOPES[directive] for directive in directives if directive in _SCOPES]
    unknown = [d for d in directives if d not in (*_SCOPES, "breaking", "no-transaction")]
    if named is None or len(scopes) != 1 or unknown:
        raise ConfigurationError([f"migration {name}: bad name, scope or directive {unknown}"])
    return Migration(
        number=int(named["number"]),
        name=name,
        schemas=scopes[0],
        breaking="breaking" in directives,
        in_transaction="no-transaction" not in directives,
        text=text,
        checksum=hashlib.sha256(text.encode()).digest(),
    )


async def migrate(
    dsn: str, settings: PoolSettings, *, migrations: Sequence[Migration] | None = None
) -> list[str]:
    """Bring the schema up to date; the names of what was applied, none when it already was.

    Raises NotReady if a newer release has migrated the database in a way that breaks this one, or
    if a migration was applied with another text. What was applied before an error stays.
    """
    wanted = released() if migrations is None else list(migrations)
    conn = await connect(dsn, settings)
    try:
        await _lock(conn, ADVISORY_LOCK_KEY)
        try:
            return await _migrate(conn, wanted)
        finally:
            if not conn.is_closed():
                await _unlock(conn, ADVISORY_LOCK_KEY)
    finally:
        await conn.close()


async def pending(
    conn: Connection, *, migrations: Sequence[Migration] | None = None
) -> list[Migration]:
    """What `migrate` would apply. Raises NotReady as it does."""
    wanted = released() if migrations is None else list(migrations)
    applied = {migration.number: migration for migration in await _read_applied(conn)}
    for migration in wanted:
        _refuse_if_edited(migration, applied.get(migration.number))
    known = {migration.number for migration in wanted}
    _refuse_if_newer([one for one in applied.values() if one.number not in known])
    return [migration for migration in wanted if migration.number not in applied]


async def check(conn: Connection, *, migrations: Sequence[Migration] | None = None) -> None:
    """Raise NotReady, with one sentence, unless this release can run on the schema as it is."""
    missing = await pending(conn, migrations=migrations)
    if missing:
        raise NotReady(
            f"the database schema is too old, it lacks {missing[0].name}: run `abaxus migrate`"
        )


async def _migrate(conn: Connection, wanted: Sequence[Migration]) -> list[str]:
    await _create_control_schema(conn)
    await _create_live_schema(conn)
    await _create_test_schema(conn)
    await _create_record(conn)
    missing = await pending(conn, migrations=wanted)
    for migration in missing:
        await _apply_patiently(conn, migration)
        _log.info("migration.applied", name=migration.name)
    return [migration.name for migration in missing]


async def _apply_patiently(conn: Connection, migration: Migration) -> None:
    for _ in range(1, LOCK_ATTEMPTS_MAX):
        try:
            return await _apply(conn, migration)
        except asyncpg.LockNotAvailableError:
            _log.warning("migration.waits_for_lock", name=migration.name)
            await asyncio.sleep(LOCK_RETRY_DELAY_MS / 1000)
    return await _apply(conn, migration)


async def _apply(conn: Connection, migration: Migration) -> None:
    if migration.in_transaction:
        async with conn.transaction():
            await _set_lock_timeout(conn, str(LOCK_TIMEOUT_MS))
            for schema in migration.schemas:
                await _set_search_path(conn, schema, True)
                await conn.execute(migration.text)
            await _write_record(conn, migration)
        return
    for schema in migration.schemas:
        await _set_search_path(conn, schema, False)
        await conn.execute(migration.text)
    await _refuse_invalid_indexes(conn, migration)
    await _write_record(conn, migration)


async def _write_record(conn: Connection, migration: Migration) -> None:
    await _record(conn, migration.number, migration.name, migration.checksum, migration.breaking)


async def _refuse_invalid_indexes(conn: Connection, migration: Migration) -> None:
    names = [record["name"] for record in await _invalid_indexes(conn, migration.schemas)]
    if names:
        raise NotReady(
            f"{migration.name} left an invalid index, {', '.join(names)}: drop it and migrate again"
        )


async def _read_applied(conn: Connection) -> list[Applied]:
    if not (await _is_recorded(conn))["present"]:
        return []
    return [
        Applied(
            number=record["number"],
            name=record["name"],
            checksum=record["checksum"],
            breaking=record["breaking"],
        )
        for record in await _applied(conn)
    ]


def _refuse_if_edited(migration: Migration, applied: Applied | None) -> None:
    if applied is not None and applied.checksum != migration.checksum:
        raise NotReady(
            f"migration {applied.name} was applied to this database with another text than this "
            "release has: a released migration must never be edited"
        )


def _refuse_if_newer(unknown: Sequence[Applied]) -> None:
    breaking = [migration for migration in unknown if migration.breaking]
    if breaking:
        raise NotReady(
            f"the database schema is newer than this release and {breaking[-1].name} broke with "
            "it: run a newer abaxus"
        )


def _directives(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        match = _DIRECTIVE.match(line)
        if match is None:
            break
        found.append(match["directive"])
    return found
