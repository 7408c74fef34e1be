"""Writing to the audit log, in the transaction of the change it records."""

from collections.abc import Mapping

from abaxus_core.repositories import audit
from abaxus_core.services.work import Work


async def record(
    work: Work,
    *,
    action: str,
    object_type: str,
    object_id: str,
    data: Mapping[str, object] | None = None,
) -> None:
    """Append one entry. `action` is `noun.verb`; `data` holds what JSON can, no secrets."""
    await audit.append(
        work.conn,
        audit.Entry(
            id=work.ids.new("aud"),
            at=work.now,
            actor=work.actor,
            action=action,
            object_type=object_type,
            object_id=object_id,
            data=dict(data or {}),
        ),
    )
