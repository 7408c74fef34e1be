"""Whatever the library makes of a peer that dies early is a fault of the transport."""

import httpx
import pytest

from abaxus_core.kernel.http_transport import network


@pytest.mark.parametrize("error", [AttributeError("getpeername"), OSError(107, "not connected")])
async def test_what_comes_through_httpx_as_it_is_is_a_network_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def die(_self: httpx.AsyncHTTPTransport, _request: httpx.Request) -> httpx.Response:
        raise error

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", die)
    async with httpx.AsyncClient(transport=network()) as client:
        with pytest.raises(httpx.NetworkError) as raised:
            await client.get("http://127.0.0.1/")
    assert raised.value.__cause__ is error
    assert not isinstance(raised.value, httpx.ConnectError)


async def test_a_closed_port_is_still_a_connection_that_never_came_about() -> None:
    async with httpx.AsyncClient(transport=network()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:1/")
