"""Lines of invoices over HTTP: the raw events behind each."""

from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.http.event_documents import EventPage, event_page, read_position
from abaxus_core.http.paging import Paged
from abaxus_core.kernel.database import Connection
from abaxus_core.services import invoice_lines


async def list_events(call: Call[None, Paged]) -> Answer:
    """The events that a line counts, newest first; none where it counts nothing."""
    query, line_no = call.query, call.number("n")
    before = read_position(query.cursor)

    async def step(conn: Connection) -> EventPage:
        found = await invoice_lines.list_events(
            conn, call.path["id"], line_no, before=before, rows_max=query.limit + 1
        )
        return event_page(found.customer_id, found.events, query.limit)

    return await call.read(step)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/invoices/{id}/lines/{n}/events",
        handler=list_events,
        scope="read",
        query=Paged,
        answers={200: EventPage},
        errors=("INVOICE_NOT_FOUND", "LINE_NOT_FOUND"),
        summary="List the events that a line counts, newest first",
        tag="Invoices",
    ),
)
