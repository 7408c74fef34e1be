"""All that one mode's tables hold, to compare before and after."""

from collections.abc import Mapping

from abaxus_core.kernel.database import Database
from tests.support.metering import fetch

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"


async def dump(database: Database) -> Mapping[str, list[tuple[object, ...]]]:
    """The rows of every table as text, in no order but their own."""
    tables = [str(name) for (name,) in await fetch(database, TABLES)]
    return {
        table: await fetch(database, f'SELECT t::text FROM "{table}" AS t ORDER BY 1')
        for table in tables
    }
