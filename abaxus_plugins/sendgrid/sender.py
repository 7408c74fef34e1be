"""SendGrid's Mail Send API as an email sender."""

import httpx

from abaxus_core.plugin.email import Capabilities, EmailMessage, EmailOutcome, bounded, check
from abaxus_core.plugin.email_http import deliver
from abaxus_core.plugin.settings import Token
from abaxus_plugins.sendgrid import wire


class SendGrid:
    capabilities = Capabilities(bytes_max=wire.BYTES_MAX)

    def __init__(self, base: str, api_key: Token, http: httpx.AsyncClient) -> None:
        self._url = f"{base}/v3/mail/send"
        self._api_key = api_key
        self._http = http

    async def send(self, message: EmailMessage, key: str) -> EmailOutcome:
        return await deliver(self._http, lambda: self._request(message, key), self._outcome)

    def _request(self, message: EmailMessage, key: str) -> httpx.Request:
        check(message)
        return self._http.build_request(
            "POST",
            self._url,
            content=bounded(wire.body(message, key), wire.BYTES_MAX),
            headers={
                "Authorization": f"Bearer {self._api_key.reveal()}",
                "Content-Type": "application/json",
            },
        )

    def _outcome(self, answer: httpx.Response) -> EmailOutcome:
        return wire.outcome(answer, self._api_key)
