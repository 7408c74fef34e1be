"""Postmark's API as an email sender."""

import httpx

from abaxus_core.plugin.email import Capabilities, EmailMessage, EmailOutcome, bounded, check
from abaxus_core.plugin.email_http import deliver
from abaxus_core.plugin.settings import Token
from abaxus_plugins.postmark import wire


class Postmark:
    capabilities = Capabilities(bytes_max=wire.BYTES_MAX)

    def __init__(self, base: str, token: Token, stream: str, http: httpx.AsyncClient) -> None:
        self._url = f"{base}/email"
        self._token = token
        self._stream = stream
        self._http = http

    async def send(self, message: EmailMessage, key: str) -> EmailOutcome:
        return await deliver(self._http, lambda: self._request(message, key), self._outcome)

    def _request(self, message: EmailMessage, key: str) -> httpx.Request:
        check(message)
        wire.check_bodies(message)
        return self._http.build_request(
            "POST",
            self._url,
            content=bounded(wire.body(message, key, self._stream), wire.BYTES_MAX),
            headers={
                "X-Postmark-Server-Token": self._token.reveal(),
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
        )

    def _outcome(self, answer: httpx.Response) -> EmailOutcome:
        return wire.outcome(answer, self._token)
