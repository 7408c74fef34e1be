"""What the absence of an answer proves."""

from collections.abc import Awaitable

import httpx
import pytest

from abaxus_core.plugin.http import Silence, answered

REQUEST = httpx.Request("POST", "https://api.acme.example/v1/payments")


def failing(error: type[httpx.TransportError]) -> Awaitable[httpx.Response]:
    async def request() -> httpx.Response:
        raise error("", request=REQUEST)

    return request()


async def test_an_answer_is_handed_on() -> None:
    answer = httpx.Response(500)

    async def request() -> httpx.Response:
        return answer

    assert await answered(request(), replay=True) is answer


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_what_never_connected_was_not_sent_unless_it_was_before(
    error: type[httpx.TransportError],
) -> None:
    first = await answered(failing(error))
    repeated = await answered(failing(error), replay=True)
    assert first == Silence(status="transient", code="unreachable", detail=error.__name__)
    assert repeated == Silence(status="unknown", code="unreachable", detail=error.__name__)


@pytest.mark.parametrize(
    "error",
    [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.RemoteProtocolError],
)
async def test_what_broke_off_later_may_have_arrived(error: type[httpx.TransportError]) -> None:
    silence = await answered(failing(error))
    assert silence == Silence(status="unknown", code="no_answer", detail=error.__name__)
