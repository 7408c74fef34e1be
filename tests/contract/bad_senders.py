"""Senders of a made-up service with one defect each, and the check that is meant to find it.

Run by test_conformance_bites.py in a process of its own; a class whose `meant` is empty is good.
"""

import asyncio
import json
import logging
import uuid
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType

import httpx
import msgspec

from abaxus_core.conformance.email import HttpEmailSenderContract
from abaxus_core.conformance.http_peer import Answer
from abaxus_core.plugin.email import (
    Capabilities,
    EmailOutcome,
    EmailSenderDescriptor,
    bounded,
    check,
    detail_of,
)
from abaxus_core.plugin.email_http import Rules, deliver
from abaxus_core.plugin.http import decoded
from abaxus_core.plugin.settings import Token

HOST = "mail.acme.example"
KEY = "key-hunter2"
log = logging.getLogger("acme")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    api_key: Token


class Naked(msgspec.Struct, frozen=True, kw_only=True):
    api_key: str


class Accepted(msgspec.Struct):
    id: str


class Refusal(msgspec.Struct):
    message: str


class Acme:
    capabilities = Capabilities(bytes_max=100_000, idempotent=True)
    rules = Rules(
        rejected={400: "content", 403: "config", 422: "recipient"}, deferred=frozenset({429, 500})
    )

    def __init__(self, settings, http):
        self.key = settings.api_key
        self.http = http

    async def send(self, message, key):
        return await deliver(self.http, lambda: self.request(message, key), self.outcome)

    def request(self, message, key):
        check(message)
        body = bounded(json.dumps(self.body(message)).encode(), self.capabilities.bytes_max)
        return self.http.build_request(
            "POST", f"https://{HOST}/mails", content=body, headers=self.headers(key)
        )

    def headers(self, key):
        return {
            "Authorization": f"Bearer {self.key.reveal()}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }

    def body(self, message):
        return {
            "from": message.sender,
            "to": message.recipient,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "headers": {"Message-ID": message.message_id, **dict(message.headers)},
            "attachments": [
                {
                    "name": one.filename,
                    "content": msgspec.json.decode(msgspec.json.encode(one.content)),
                }
                for one in message.attachments
            ],
            "track": False,
        }

    def outcome(self, answer):
        if answer.status_code == 200:
            taken = msgspec.json.decode(answer.content, type=Accepted)
            return EmailOutcome(status="accepted", provider_message_id=taken.id)
        said = decoded(answer, Refusal)
        return self.rules.outcome(
            answer, detail=detail_of(said.message, self.key) if said else None
        )


def descriptor(sender, settings=Settings, contract=1):
    @asynccontextmanager
    async def opened(settings, http):
        yield sender(settings, http)

    return EmailSenderDescriptor(
        name="acme",
        contract=contract,
        settings=settings,
        hosts=lambda _settings: frozenset({HOST}),
        open=opened,
        fields=frozenset(
            {
                "from", "to", "subject", "text", "html", "headers.Message-ID",
                "headers.Auto-Submitted", "attachments[].name", "attachments[].content", "track",
            }
        ),
        headers=frozenset({"authorization", "content-type", "idempotency-key"}),
    )  # fmt: skip


class AcmeContract(HttpEmailSenderContract):
    environ = MappingProxyType({"ACME_API_KEY": KEY})
    secrets = frozenset({"ACME_API_KEY"})
    untracked = MappingProxyType({"track": "false"})
    said = json.dumps({"message": f"payer@customer.example with {KEY}"}).encode()
    answers = MappingProxyType(
        {
            "accept": Answer(status=200, body=b'{"id": "m1"}'),
            "refuse_recipient": Answer(status=422, body=said),
            "refuse_content": Answer(status=400, body=said),
            "refuse_config": Answer(status=403, body=said),
            "defer": Answer(status=429, body=said),
        }
    )
    meant = frozenset()


class TestGood(AcmeContract):
    descriptor = descriptor(Acme)


class Optimist(Acme):
    def outcome(self, answer):
        return EmailOutcome(status="accepted") if answer.is_success else super().outcome(answer)


class TestOptimist(AcmeContract):
    descriptor = descriptor(Optimist)
    meant = frozenset({"test_what_proves_nothing_is_unknown"})


class Impatient(Acme):
    """Takes silence for a no."""

    async def send(self, message, key):
        outcome = await super().send(message, key)
        if outcome.status == "unknown":
            return EmailOutcome(status="deferred", code="timeout")
        return outcome


class TestImpatient(AcmeContract):
    descriptor = descriptor(Impatient)
    meant = frozenset({"test_what_proves_nothing_is_unknown"})


class Insistent(Acme):
    """Tries again by itself."""

    async def send(self, message, key):
        outcome = await super().send(message, key)
        return await super().send(message, key) if outcome.status == "unknown" else outcome


class TestInsistent(AcmeContract):
    descriptor = descriptor(Insistent)
    meant = frozenset({"test_what_proves_nothing_is_unknown"})


class GivesUp(Acme):
    async def send(self, message, key):
        try:
            request = self.request(message, key)
        except ValueError as error:
            return error.outcome()
        try:
            return self.outcome(await self.http.send(request))
        except httpx.NetworkError:
            return EmailOutcome(status="rejected", code="network", scope="config")
        except (httpx.TransportError, msgspec.MsgspecError):
            return EmailOutcome(status="unknown")


class TestGivesUp(AcmeContract):
    descriptor = descriptor(GivesUp)
    meant = frozenset({"test_what_never_arrived_is_sent_again"})


class Undecided(Acme):
    rules = Rules(rejected={}, deferred=frozenset({429, 500}))


class TestUndecided(AcmeContract):
    descriptor = descriptor(Undecided)
    meant = frozenset({"test_a_refusal_is_for_good_and_says_whose_fault"})


class BlamesTheMail(Acme):
    rules = Rules(
        rejected={400: "content", 403: "content", 422: "content"}, deferred=frozenset({429})
    )


class TestBlamesTheMail(AcmeContract):
    descriptor = descriptor(BlamesTheMail)
    meant = frozenset({"test_a_refusal_is_for_good_and_says_whose_fault"})


class Offended(Acme):
    rules = Rules(
        rejected={400: "content", 403: "config", 422: "recipient", 429: "config"},
        deferred=frozenset(),
    )


class TestOffended(AcmeContract):
    descriptor = descriptor(Offended)
    meant = frozenset(
        {"test_what_is_not_taken_now_is_deferred", "test_when_to_come_back_is_handed_on"}
    )


class Deaf(Acme):
    def outcome(self, answer):
        return msgspec.structs.replace(super().outcome(answer), retry_after_s=None)


class TestDeaf(AcmeContract):
    descriptor = descriptor(Deaf)
    meant = frozenset({"test_when_to_come_back_is_handed_on"})


class LogsKeys(Acme):
    def headers(self, key):
        headers = super().headers(key)
        log.debug("sending %s", headers)
        return headers


class TestLogsKeys(AcmeContract):
    descriptor = descriptor(LogsKeys)
    meant = frozenset({"test_secrets_and_addresses_stay_out_of_sight"})


class LogsAddresses(Acme):
    def body(self, message):
        print("mail to", message.recipient)
        return super().body(message)


class TestLogsAddresses(AcmeContract):
    descriptor = descriptor(LogsAddresses)
    meant = frozenset({"test_secrets_and_addresses_stay_out_of_sight"})


class NakedKey(Acme):
    def __init__(self, settings, http):
        super().__init__(msgspec.structs.replace(settings, api_key=Token(settings.api_key)), http)


class TestNakedKey(AcmeContract):
    descriptor = descriptor(NakedKey, Naked)
    meant = frozenset({"test_secrets_and_addresses_stay_out_of_sight"})


class Blabs(Acme):
    def outcome(self, answer):
        outcome = super().outcome(answer)
        said = decoded(answer, Refusal)
        return msgspec.structs.replace(outcome, detail=said.message) if said else outcome


class TestBlabs(AcmeContract):
    descriptor = descriptor(Blabs)
    meant = frozenset({"test_secrets_and_addresses_stay_out_of_sight"})


class SendsCopies(Acme):
    def body(self, message):
        return super().body(message) | {"to": f"{message.recipient}, archive@acme.example"}


class TestSendsCopies(AcmeContract):
    descriptor = descriptor(SendsCopies)
    meant = frozenset({"test_nobody_else_gets_the_mail"})


class SaysMore(Acme):
    def body(self, message):
        return super().body(message) | {"hostname": "db.internal"}


class TestSaysMore(AcmeContract):
    descriptor = descriptor(SaysMore)
    meant = frozenset({"test_only_declared_fields_are_sent"})


class Telemetry(Acme):
    def headers(self, key):
        return super().headers(key) | {"X-Client-Platform": "linux"}


class TestTelemetry(AcmeContract):
    descriptor = descriptor(Telemetry)
    meant = frozenset({"test_only_declared_fields_are_sent"})


class Tracks(Acme):
    def body(self, message):
        return super().body(message) | {"track": True}


class TestTracks(AcmeContract):
    descriptor = descriptor(Tracks)
    meant = frozenset({"test_nothing_is_tracked"})


class Pixel(Acme):
    def body(self, message):
        return super().body(message) | {"html": message.html + '<img src="https://acme.example">'}


class TestPixel(AcmeContract):
    descriptor = descriptor(Pixel)
    meant = frozenset({"test_the_mail_arrives_as_it_was_written"})


class Drops(Acme):
    def body(self, message):
        return super().body(message) | {"text": "see the other part"}


class TestDrops(AcmeContract):
    descriptor = descriptor(Drops)
    meant = frozenset({"test_the_mail_arrives_as_it_was_written"})


class FreshIds(Acme):
    def body(self, message):
        fresh = f"<{uuid.uuid4().hex}@seller.example>"
        body = super().body(message)
        return body | {"headers": body["headers"] | {"Message-ID": fresh}}


class TestFreshIds(AcmeContract):
    descriptor = descriptor(FreshIds)
    meant = frozenset({"test_a_second_delivery_is_the_same_mail", "test_nobody_else_gets_the_mail"})


class Keyless(Acme):
    def headers(self, key):
        return super().headers("always the same")


class TestKeyless(AcmeContract):
    descriptor = descriptor(Keyless)
    meant = frozenset({"test_the_key_goes_along_where_it_is_said_to_work"})


class PhonesHome(Acme):
    async def send(self, message, key):
        with suppress(httpx.TransportError):
            await self.http.post("https://stats.acme.example/", content=b"{}")
        return await super().send(message, key)


class TestPhonesHome(AcmeContract):
    descriptor = descriptor(PhonesHome)
    meant = frozenset({"test_only_declared_hosts_are_contacted"})


class GoesAround(Acme):
    async def send(self, message, key):
        with suppress(httpx.TransportError, OSError):
            async with httpx.AsyncClient(timeout=1) as http:
                await http.post("https://stats.acme.invalid/", content=b"{}")
        return await super().send(message, key)


class TestGoesAround(AcmeContract):
    descriptor = descriptor(GoesAround)
    meant = frozenset({"test_only_declared_hosts_are_contacted"})


class Credulous(Acme):
    def request(self, message, key):
        body = bounded(json.dumps(self.body(message)).encode(), self.capabilities.bytes_max)
        return self.http.build_request(
            "POST", f"https://{HOST}/mails", content=body, headers=self.headers(key)
        )


class TestCredulous(AcmeContract):
    descriptor = descriptor(Credulous)
    meant = frozenset({"test_what_is_no_mail_is_refused_unsent"})


class Boundless(Acme):
    def request(self, message, key):
        check(message)
        body = json.dumps(self.body(message)).encode()
        return self.http.build_request(
            "POST", f"https://{HOST}/mails", content=body, headers=self.headers(key)
        )


class TestBoundless(AcmeContract):
    descriptor = descriptor(Boundless)
    meant = frozenset({"test_what_is_too_large_is_refused_unsent"})


class Shares(Acme):
    """Keeps the mail in hand in one place for all."""

    async def send(self, message, key):
        self.current = message
        await asyncio.sleep(0)
        return await super().send(self.current, key)


class TestShares(AcmeContract):
    descriptor = descriptor(Shares)
    meant = frozenset({"test_two_mails_at_once_are_two_mails"})


class Jams(Acme):
    """Waits for ever, and a send that is cancelled never says that it is over."""

    sending = 0

    async def send(self, message, key):
        if self.sending > 1:
            return EmailOutcome(status="deferred", code="busy")
        self.http.timeout = httpx.Timeout(None)
        self.sending += 2
        outcome = await super().send(message, key)
        self.sending -= 2
        return outcome


class TestJams(AcmeContract):
    descriptor = descriptor(Jams)
    meant = frozenset(
        {
            "test_it_goes_on_after_being_cut_off",
            "test_two_mails_at_once_are_two_mails",
        }
    )


class TestFuture(AcmeContract):
    descriptor = descriptor(Acme, contract=2)
    meant = frozenset({"test_the_descriptor_fits"})
