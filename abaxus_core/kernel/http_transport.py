"""How our HTTP clients reach the network: by httpx, whose faults are all faults of a transport.

A peer that dies while it is being connected to leaves a socket without an address, or, on uvloop,
no socket at all; anyio stumbles over either, and httpx lets that through as it comes.
"""

import httpx

CONNECTIONS_MAX = 100


def network(connections_max: int = CONNECTIONS_MAX) -> httpx.AsyncBaseTransport:
    """No retries, and nothing from the environment."""
    limits = httpx.Limits(max_connections=connections_max)
    return _Network(trust_env=False, retries=0, limits=limits)


class _Network(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except (OSError, AttributeError) as error:
            # Nothing proves here that nothing was sent, so it is no ConnectError.
            raise httpx.NetworkError(type(error).__name__, request=request) from error
