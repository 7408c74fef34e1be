"""`sql/schema.sql`: what the migrations add up to, for readers; `make schema` writes it."""

import asyncio
import re
import subprocess

from abaxus_core.kernel import sql
from abaxus_core.kernel.embedded_postgres import THROW_AWAY
from abaxus_core.kernel.migrations import migrate
from abaxus_core.kernel.postgres_binaries import find_binaries
from tests.support.postgres import SETTINGS, running_server

SCHEMA_FILE = sql.folder() / "schema.sql"
_HEADING = """\
-- Generated from the migrations by `make schema`, for readers; nothing runs it.
-- abaxus_test holds the same tables as abaxus_live.
"""
_NOISE = re.compile(
    r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*)$", re.MULTILINE
)

# PostgreSQL 18 names these constraints, and shows a name that is not the one it would give.
_NAMED_NOT_NULL = re.compile(r" CONSTRAINT \w+_not_null NOT NULL")


def dump_schema(dsn: str) -> str:
    """What pg_dump says of the control schema and of live mode, without what varies."""
    done = subprocess.run(
        [
            find_binaries() / "pg_dump",
            "--schema-only",
            "--no-owner",
            "--no-privileges",
            "--schema=abaxus",
            "--schema=abaxus_live",
            dsn,
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    body = re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", done.stdout)).strip()
    body = _NAMED_NOT_NULL.sub(" NOT NULL", body)
    return f"{_HEADING}\n{body}\n"


def main() -> None:
    with running_server(THROW_AWAY) as server:
        asyncio.run(migrate(server.dsn(), SETTINGS))
        SCHEMA_FILE.write_text(dump_schema(server.dsn()), encoding="utf-8")


if __name__ == "__main__":
    main()
