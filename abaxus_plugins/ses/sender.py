"""Amazon SES as an email sender."""

import httpx

from abaxus_core.plugin.clock import Clock
from abaxus_core.plugin.email import Capabilities, EmailMessage, EmailOutcome, bounded, mime
from abaxus_core.plugin.email_http import deliver
from abaxus_plugins.ses import signature, wire
from abaxus_plugins.ses.settings import Settings, host


class Ses:
    capabilities = Capabilities(bytes_max=wire.BYTES_MAX)

    def __init__(self, settings: Settings, http: httpx.AsyncClient, clock: Clock) -> None:
        self._settings = settings
        self._host = host(settings.region)
        self._http = http
        self._clock = clock

    async def send(self, message: EmailMessage, key: str) -> EmailOutcome:
        return await deliver(self._http, lambda: self._request(message, key), self._outcome)

    def _request(self, message: EmailMessage, key: str) -> httpx.Request:
        configuration_set = self._settings.configuration_set
        body = wire.body(message, mime(message), key, configuration_set)
        return self._http.build_request(
            "POST",
            f"https://{self._host}{wire.PATH}",
            content=bounded(body, wire.BYTES_MAX),
            headers=self._headers(body),
        )

    def _headers(self, body: bytes) -> dict[str, str]:
        scope = signature.Scope(at=self._clock(), region=self._settings.region, service="ses")
        headers = {
            "Content-Type": "application/json",
            "Host": self._host,
            "X-Amz-Date": scope.timestamp,
        }
        if self._settings.session_token is not None:
            headers["X-Amz-Security-Token"] = self._settings.session_token.reveal()
        request = signature.Signable(method="POST", path=wire.PATH, headers=headers, body=body)
        headers["Authorization"] = signature.authorization(
            request,
            scope,
            access_key_id=self._settings.access_key_id,
            secret_access_key=self._settings.secret_access_key,
        )
        return headers

    def _outcome(self, answer: httpx.Response) -> EmailOutcome:
        secrets = (self._settings.secret_access_key, self._settings.session_token)
        return wire.outcome(answer, *secrets)
