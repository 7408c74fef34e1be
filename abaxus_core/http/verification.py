"""Verifying one invoice over HTTP."""

import msgspec

from abaxus_core.domain.findings import Finding
from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.services.verification.run import EVENTS_PER_REQUEST_MAX, one


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an invoice can be derived again from its events; if not, what does not hold.

    `event_count`: how many its lines count together.
    """

    invoice_id: str
    holds: bool
    event_count: int
    findings: list[Finding]


async def verify(call: Call[None, None]) -> Answer:
    invoice_id = call.path["id"]
    report = await one(call.context.database, invoice_id, events_max=EVENTS_PER_REQUEST_MAX)
    verification = Verification(
        invoice_id=invoice_id,
        holds=not report.findings,
        event_count=report.event_count,
        findings=report.findings,
    )
    return answer(200, verification)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/invoices/{id}/verify",
        handler=verify,
        scope="read",
        answers={200: Verification},
        errors=("INVOICE_NOT_FOUND", "TOO_MANY_EVENTS"),
        summary="Derive an invoice again from raw events; changes nothing",
        tag="Invoices",
    ),
)
