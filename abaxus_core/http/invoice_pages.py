"""Documents of invoices over HTTP: a page that loads nothing, and a PDF."""

from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.services import invoice_documents

HTML = b"text/html; charset=utf-8"
PDF = b"application/pdf"

_ERRORS = ("INVOICE_NOT_FOUND", "DOCUMENT_TOO_LONG", "DOCUMENTS_BUSY")


async def html(call: Call[None, None]) -> Answer:
    page = await invoice_documents.page(call.context, call.path["id"])
    return Answer(200, page.content, HTML, _policy(page.style))


async def pdf(call: Call[None, None]) -> Answer:
    document = await invoice_documents.pdf(call.context, call.path["id"])
    disposition = f'inline; filename="{document.filename}"'
    return Answer(
        200, document.content, PDF, ((b"content-disposition", disposition.encode("ascii")),)
    )


def _policy(style: str) -> tuple[tuple[bytes, bytes], ...]:
    """Nothing is run or loaded; the page's style sheet counts, and images that are within it."""
    policy = (
        f"default-src 'none'; style-src '{style}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return (
        (b"content-security-policy", policy.encode("ascii")),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET",
        path="/v1/invoices/{id}/html",
        handler=html,
        scope="read",
        answers={200: None},
        errors=_ERRORS,
        media_type=HTML.decode(),
        summary="Read an invoice as a page that loads nothing",
        tag="Invoices",
    ),
    Endpoint(
        method="GET",
        path="/v1/invoices/{id}/pdf",
        handler=pdf,
        scope="read",
        answers={200: None},
        errors=_ERRORS,
        media_type=PDF.decode(),
        summary="Read an invoice as a PDF, the same bytes each time",
        tag="Invoices",
    ),
)
