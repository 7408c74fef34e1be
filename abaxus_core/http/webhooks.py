"""Where payment providers tell what became of a payment: signed by them, so no API key."""

import msgspec

from abaxus_core.http.answers import Answer, answer
from abaxus_core.http.endpoint import Call, Endpoint, Form
from abaxus_core.services import webhooks


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """It is stored as far as it is news; the provider need not tell it again."""

    received: bool = True


async def receive(call: Call[object, None]) -> Answer:
    body = call.body if isinstance(call.body, bytes) else b""
    await webhooks.receive(call.context, call.path["provider"], call.headers, body)
    return answer(200, Received())


def _as_sent(raw: bytes) -> bytes:
    """The bytes themselves: they are what is signed."""
    return raw


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="POST",
        path="/v1/webhooks/{provider}",
        handler=receive,
        scope=None,
        forms={"application/json": Form(body=dict[str, object], read=_as_sent, handler=receive)},
        keeps_answers=False,
        answers={200: Received},
        errors=("NOT_FOUND", "SIGNATURE_INVALID"),
        summary="Take a payment provider's signed notification, where its secret is configured",
        tag="Payments",
    ),
)
