"""What tells this installation from others that share a service with it."""

from uuid import UUID

from abaxus_core.kernel.database import Connection
from abaxus_core.kernel.sql import queries

_sql = queries("installation")
_get = _sql.one("get")


async def installation_id(conn: Connection) -> UUID:
    """Made with the database, the same for both modes and all processes."""
    found: UUID = (await _get(conn))["installation_id"]
    return found
