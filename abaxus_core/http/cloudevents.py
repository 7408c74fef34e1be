"""CloudEvents 1.0, structured: usage in the form that OpenMeter and other meters are sent.

`subject` is the customer, `type` the metric, `id` the idempotency key, `time` the timestamp,
`data.value` the value, and what else `data` holds the properties. `source` is asked for, as the
specification does, and not kept; attributes that we do not know are passed over, as it says.
Source: CloudEvents 1.0.2 and its JSON event format, github.com/cloudevents/spec.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec

from abaxus_core.domain.events import Event
from abaxus_core.errors import AbaxusError, InvalidInput
from abaxus_core.http import codec
from abaxus_core.http.body import is_json
from abaxus_core.http.codec import CallerId, IdempotencyKey
from abaxus_core.services.ingestion import BATCH_MAX, Offer

EVENT_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"

_NAMES: Final[Mapping[str, str]] = {
    "customer_id": "subject",
    "metric_key": "type",
    "value": "data.value",
    "timestamp": "time",
    "idempotency_key": "id",
    "properties": "data",
}


class CloudEventData(msgspec.Struct, frozen=True, kw_only=True):
    """The value; all other members are the event's properties."""

    value: Decimal


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One usage event. `id` is the idempotency key: unique per subject, for ever, whatever the
    source."""

    specversion: Literal["1.0"]
    id: IdempotencyKey
    source: Annotated[str, msgspec.Meta(min_length=1)]
    type: Annotated[str, msgspec.Meta(min_length=1)]
    subject: CallerId
    time: datetime
    datacontenttype: str | None = None
    data: CloudEventData


CloudEvents = Annotated[list[CloudEvent], msgspec.Meta(max_length=BATCH_MAX)]
"""A batch, for the documentation; it is read one by one."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it was sent, member by member, and what to offer of each."""

    trees: list[Any]
    offers: list[Offer]


def read_event(raw: bytes) -> Event:
    """Return the one event in a body. InvalidInput names the attribute that will not do."""
    return _event(codec.parse(raw))


def read_batch(raw: bytes) -> Batch:
    """Return the events of a batch, which may be empty; one that will not do is an error itself."""
    trees = codec.parse(raw)
    if not isinstance(trees, list):
        raise InvalidInput("must be an array of events")
    if len(trees) > BATCH_MAX:
        raise InvalidInput(f"must hold at most {BATCH_MAX} events", code="BATCH_TOO_LARGE")
    return Batch(trees=trees, offers=[_offer(tree) for tree in trees])


def renamed(error: AbaxusError) -> AbaxusError:
    """Return the refusal of an event with the field's name in CloudEvents.

    >>> renamed(InvalidInput("is required", field="properties.user")).field
    'data.user'
    """
    name, dot, rest = (error.field or "").partition(".")
    field = _NAMES.get(name, name) + dot + rest
    return type(error)(error.message, code=error.code, field=field or None, details=error.details)


def _offer(tree: Any) -> Offer:
    try:
        return _event(tree)
    except InvalidInput as error:
        return error


def _event(tree: Any) -> Event:
    if isinstance(tree, dict) and tree.get("data_base64") is not None:
        raise InvalidInput("is not read; send a JSON object as data", field="data_base64")
    read = codec.typed(CloudEvent, tree)
    if read.datacontenttype is not None and not is_json(read.datacontenttype):
        raise InvalidInput("must be application/json, or absent", field="datacontenttype")
    others = {name: value for name, value in tree["data"].items() if name != "value"}
    return Event(
        customer_id=read.subject,
        metric_key=read.type,
        value=read.data.value,
        timestamp=read.time,
        idempotency_key=read.id,
        properties=codec.typed(dict[str, Any], others, path="data") or None,
    )
