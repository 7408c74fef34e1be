"""Mailgun's API as an email sender."""

import base64

import httpx

from abaxus_core.plugin.email import Capabilities, EmailMessage, EmailOutcome, bounded, mime
from abaxus_core.plugin.email_http import deliver
from abaxus_core.plugin.settings import Secret, Token
from abaxus_plugins.mailgun import wire


class Mailgun:
    capabilities = Capabilities(bytes_max=wire.BYTES_MAX)

    def __init__(self, base: str, api_key: Token, http: httpx.AsyncClient) -> None:
        self._url = f"{base}/messages.mime"
        self._authorization = Secret(_basic(api_key))
        self._api_key = api_key
        self._http = http

    async def send(
        self,
        message: EmailMessage,
        key: str,  # noqa: ARG002 - Mailgun keeps the Message-ID, and its log is searched by it
    ) -> EmailOutcome:
        return await deliver(self._http, lambda: self._request(message), self._outcome)

    def _request(self, message: EmailMessage) -> httpx.Request:
        content = bounded(mime(message), wire.BYTES_MAX)
        return self._http.build_request(
            "POST",
            self._url,
            data={"to": message.recipient, **wire.UNTRACKED},
            files={"message": ("message.eml", content, "message/rfc822")},
            headers={
                "Authorization": self._authorization.reveal(),
                "Content-Type": f"multipart/form-data; boundary={wire.boundary(content)}",
            },
        )

    def _outcome(self, answer: httpx.Response) -> EmailOutcome:
        return wire.outcome(answer, self._api_key)


def _basic(api_key: Secret) -> str:
    return "Basic " + base64.b64encode(f"api:{api_key.reveal()}".encode()).decode()
