"""The baseline: Starlette alone on a server as it comes, with the bytes and headers of ours.

    /bare, /bench/bare              answers; what it shall answer from now on

`python -m benchmarks.entitlement_checks.bare SERVER PORT`.
"""

import asyncio
import sys
from typing import Final

import msgspec
import uvicorn
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BARE: Final = "/bare"
TO_BE_BARE: Final = "/bench/bare"
# hypercorn would cut a connection off after a thousand.
REQUESTS_MAX: Final = 1_000_000_000


class Imitated(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of ours, for /bare to give: what the server adds by itself is not in `headers`."""

    headers: dict[str, str]
    body: str


class _Bare:
    def __init__(self) -> None:
        self._imitated = Imitated(headers={}, body="")
        self._body = b""

    async def imitate(self, request: Request) -> Response:
        self._imitated = msgspec.json.decode(await request.body(), type=Imitated)
        self._body = self._imitated.body.encode()
        return Response(b"{}")

    async def get(self, _request: Request) -> Response:
        return Response(self._body, headers=self._imitated.headers)


def routes() -> list[Route]:
    bare = _Bare()
    return [Route(BARE, bare.get), Route(TO_BE_BARE, bare.imitate, methods=["POST"])]


def main() -> None:
    server, port = sys.argv[1], int(sys.argv[2])
    starlette = Starlette(routes=routes())
    if server == "uvicorn":
        uvicorn.run(starlette, port=port, access_log=False, server_header=False, log_level="error")
        return
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.include_server_header = False
    config.keep_alive_max_requests = REQUESTS_MAX
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(starlette, config))


if __name__ == "__main__":
    main()
