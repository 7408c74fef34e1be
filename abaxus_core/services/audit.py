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


async def record_many(
    work: Work, *, action: str, object_type: str, data: Mapping[str, Mapping[str, object]]
) -> None:
    """Append the same action on many objects: `data` by object id, in its order."""
    act = audit.Act(at=work.now, actor=work.actor, action=action, object_type=object_type)
    entries = [(work.ids.new("aud"), object_id, one) for object_id, one in data.items()]
    await audit.append_many(work.conn, act, entries)
