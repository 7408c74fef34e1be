"""What every email sender is held to. An author subclasses, says how the service answers, runs
pytest:

    class TestAcme(HttpEmailSenderContract):
        descriptor = acme_mail.register_email_senders()[0]
        environ = {"ACME_API_KEY": "key-of-the-tests"}
        secrets = frozenset({"ACME_API_KEY"})
        untracked = {"track": "false"}
        answers = {
            "accept": Answer(status=200, body=b'{"id": "m1"}'),
            "refuse_recipient": Answer(status=422, body=…),
            "refuse_content": …, "refuse_config": …, "defer": Answer(status=429),
        }

A service that does not speak HTTP subclasses EmailSenderContract and brings a `service` of its own.
Needs pytest-asyncio in its mode `auto`. docs/plugins.md says what each status means.
"""

import asyncio
import base64
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import ClassVar, Final

import httpx
import msgspec
import pytest

from abaxus_core.conformance.email_bench import (
    ADDRESS,
    KEY,
    MESSAGE,
    NEVER_KNOWN,
    NEVER_SENT,
    OTHER,
    REFUSALS,
    RETRY_AFTER_S,
    SITUATIONS,
    Bench,
    Delivered,
    HttpService,
    Service,
    Situation,
)
from abaxus_core.conformance.http_peer import Answer, Received, http_peer
from abaxus_core.conformance.sockets import contained
from abaxus_core.kernel import environment, outbound, plugin_manager
from abaxus_core.plugin import email
from abaxus_core.plugin.email import Attachment, EmailMessage, EmailSenderDescriptor

# What httpx and the kernel's client say in every request.
USUAL_HEADERS: Final = frozenset(
    {"host", "accept", "accept-encoding", "connection", "user-agent", "content-length"}
)


class EmailSenderContract:
    """Subclass it; the class variables and `service` are yours."""

    descriptor: ClassVar[EmailSenderDescriptor]
    secrets: ClassVar[frozenset[str]] = frozenset()
    """Variables whose values must never be seen."""
    untracked: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What the request must say to keep opens and clicks unobserved: path and text."""
    cannot: ClassVar[frozenset[Situation]] = frozenset()
    """What cannot happen with this service."""
    says_when_to_come_back: ClassVar[bool] = False

    def service(self) -> AbstractAsyncContextManager[Service]:
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Bench]:
        """The sender over its service; nothing but this machine can be reached meanwhile."""
        async with self.service() as service:
            settings, faults = self._read(service.environ)
            assert settings is not None, faults
            hosts = self.descriptor.hosts(settings)
            asked: list[str] = []
            client = outbound.open_client(hosts, network=service.network)
            with contained() as elsewhere:
                async with client as http, self.descriptor.open(settings, http) as sender:
                    http.event_hooks = {"request": [_noting(asked)]}
                    yield Bench(sender, settings, service, http, asked, elsewhere)

    def _read(self, environ: Mapping[str, str]) -> tuple[msgspec.Struct | None, list[str]]:
        prefix = plugin_manager.settings_prefix(self.descriptor.name)
        return environment.read(environ, self.descriptor.settings, prefix=prefix)

    def _needs(self, situation: Situation) -> None:
        if situation in self.cannot:
            pytest.skip(f"{situation}: cannot happen with {self.descriptor.name}")

    def test_the_descriptor_fits(self) -> None:
        assert self.descriptor.contract == email.CONTRACT
        assert re.fullmatch(r"[a-z][a-z0-9-]{0,63}", self.descriptor.name)

    async def test_each_setting_that_is_required_is_missed_by_name(self) -> None:
        prefix = plugin_manager.settings_prefix(self.descriptor.name)
        required = [
            prefix + one.name.upper()
            for one in msgspec.structs.fields(self.descriptor.settings)
            if one.required
        ]
        _, faults = self._read({})
        assert faults == [f"{name} is not set" for name in required]

    async def test_a_mail_is_accepted(self) -> None:
        async with self.opened() as bench:
            outcome = await bench.send_when("accept")
            assert outcome.status == "accepted"
            assert len(bench.service.delivered) == 1

    async def test_the_mail_arrives_as_it_was_written(self) -> None:
        async with self.opened() as bench:
            await bench.send_when("accept")
            texts = [leaf.text.replace("\r\n", "\n").rstrip() for leaf in bench.leaves()]
        attached = MESSAGE.attachments[0]
        for written in (MESSAGE.text, MESSAGE.html, MESSAGE.subject, attached.filename):
            assert written.rstrip() in texts
        assert base64.b64encode(attached.content).decode() in texts
        assert "auto-generated" in texts

    async def test_only_declared_fields_are_sent(self) -> None:
        async with self.opened() as bench:
            await bench.send_when("accept")
            (delivered,) = bench.service.delivered
        sent = {leaf.path for leaf in delivered.leaves()}
        assert sent - self.descriptor.fields == set(), "fields that the descriptor does not declare"
        named = {name.lower() for name in delivered.headers} - USUAL_HEADERS
        assert named - self.descriptor.headers == set(), "headers that it does not declare"

    async def test_nobody_else_gets_the_mail(self) -> None:
        known = {MESSAGE.sender, MESSAGE.recipient, MESSAGE.message_id.strip("<>")}
        async with self.opened() as bench:
            await bench.send_when("accept")
            texts = " ".join(leaf.text for leaf in bench.leaves())
        assert MESSAGE.recipient in texts
        assert set(ADDRESS.findall(texts)) - known == set()

    async def test_nothing_is_tracked(self) -> None:
        async with self.opened() as bench:
            await bench.send_when("accept")
            said = {leaf.path: leaf.text for leaf in bench.leaves()}
        assert {path: said.get(path) for path in self.untracked} == self.untracked

    async def test_a_second_delivery_is_the_same_mail(self) -> None:
        async with self.opened() as bench:
            assert (await bench.send_when("accept")).status == "accepted"
            assert (await bench.send()).status == "accepted"
            first, *more = bench.service.delivered
        assert [again.body for again in more if again.body != first.body] == []
        assert any(MESSAGE.message_id in leaf.text for leaf in first.leaves())

    @pytest.mark.parametrize("situation", REFUSALS)
    async def test_a_refusal_is_for_good_and_says_whose_fault(self, situation: Situation) -> None:
        self._needs(situation)
        async with self.opened() as bench:
            outcome = await bench.send_when(situation)
        assert (outcome.status, outcome.scope) == ("rejected", REFUSALS[situation])

    async def test_what_is_not_taken_now_is_deferred(self) -> None:
        self._needs("defer")
        async with self.opened() as bench:
            outcome = await bench.send_when("defer")
        assert outcome.status == "deferred"

    async def test_when_to_come_back_is_handed_on(self) -> None:
        if not self.says_when_to_come_back:
            pytest.skip(f"{self.descriptor.name} does not say when to come back")
        async with self.opened() as bench:
            outcome = await bench.send_when("defer")
        assert outcome.retry_after_s == RETRY_AFTER_S

    @pytest.mark.parametrize("situation", NEVER_SENT)
    async def test_what_never_arrived_is_sent_again(self, situation: Situation) -> None:
        self._needs(situation)
        async with self.opened() as bench:
            outcome = await bench.send_when(situation)
        assert outcome.status in ("deferred", "unknown")

    @pytest.mark.parametrize("situation", NEVER_KNOWN)
    async def test_what_proves_nothing_is_unknown(self, situation: Situation) -> None:
        self._needs(situation)
        async with self.opened() as bench:
            outcome = await bench.send_when(situation)
            assert outcome.status == "unknown"
            assert len(bench.service.delivered) == 1, "it was sent more than once"

    async def test_it_goes_on_after_being_cut_off(self) -> None:
        self._needs("silent")
        async with self.opened() as bench:
            await bench.send_when("silent")
            assert (await bench.send_when("accept")).status == "accepted"

    async def test_two_mails_at_once_are_two_mails(self) -> None:
        async with self.opened() as bench:
            bench.service.will("accept")
            outcomes = await asyncio.gather(bench.send(), bench.send(OTHER, "key_01JOTHER"))
            found = sorted(_recipient(one) for one in bench.service.delivered)
        assert [outcome.status for outcome in outcomes] == ["accepted", "accepted"]
        assert found == sorted([MESSAGE.recipient, OTHER.recipient])

    async def test_what_is_no_mail_is_refused_unsent(self) -> None:
        smuggling = msgspec.structs.replace(MESSAGE, subject="Invoice\r\nBcc: thief@evil.example")
        async with self.opened() as bench:
            bench.service.will("accept")
            outcome = await bench.send(smuggling)
            assert (outcome.status, outcome.scope) == ("rejected", "content")
            assert len(bench.service.delivered) == 0

    async def test_what_is_too_large_is_refused_unsent(self) -> None:
        async with self.opened() as bench:
            bytes_max = bench.sender.capabilities.bytes_max
            if bytes_max is None:
                pytest.skip("its capabilities name no size")
            bench.service.will("accept")
            outcome = await bench.send(_with_attachment(bytes_max))
            assert (outcome.status, outcome.scope) == ("rejected", "content")
            assert len(bench.service.delivered) == 0

    async def test_only_declared_hosts_are_contacted(self) -> None:
        async with self.opened() as bench:
            await bench.send_when("accept")
            hosts = self.descriptor.hosts(bench.settings)
        assert [host for host in bench.asked if not outbound.host_allowed(host, hosts)] == []
        assert bench.elsewhere == [], "connections past the client that it was given"
        assert all(outbound.is_host_pattern(host) for host in hosts)

    async def test_secrets_and_addresses_stay_out_of_sight(
        self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with self.opened() as bench:
            shown = [repr(bench.settings), repr(bench.sender), str(bench.sender)]
            possible = [one for one in SITUATIONS if one not in self.cannot]
            shown += [repr(await bench.send_when(situation)) for situation in possible]
            hidden = [bench.service.environ[name] for name in sorted(self.secrets)]
        out, err = capfd.readouterr()
        seen = "\n".join([*shown, caplog.text, out, err])
        assert [text for text in hidden if text in seen] == []
        assert MESSAGE.recipient not in seen


class HttpEmailSenderContract(EmailSenderContract):
    """For services over HTTP: `answers` says what the real one answers when it accepts, refuses or
    defers; the kit spoils its answers for the other situations.
    """

    environ: ClassVar[Mapping[str, str]]
    answers: ClassVar[Mapping[Situation, Answer]]
    says_when_to_come_back: ClassVar[bool] = True

    def check_request(self, received: Received) -> None:
        """Raise AssertionError for a request that the real service would not take."""

    async def test_the_key_goes_along_where_it_is_said_to_work(self) -> None:
        async with self.opened() as bench:
            if not bench.sender.capabilities.idempotent:
                pytest.skip("its capabilities do not say that the service drops duplicates")
            await bench.send_when("accept")
            (delivered,) = bench.service.delivered
        said = [*(leaf.text for leaf in delivered.leaves()), *delivered.headers.values()]
        assert any(KEY in text for text in said)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Service]:
        async with http_peer() as peer:
            yield HttpService(self.environ, peer, self.answers)
            for received in peer.received:
                self.check_request(received)


def _noting(asked: list[str]) -> Callable[[httpx.Request], object]:
    async def note(request: httpx.Request) -> None:
        asked.append(request.url.host)

    return note


def _recipient(delivered: Delivered) -> str:
    texts = " ".join(leaf.text for leaf in delivered.leaves())
    (found,) = {MESSAGE.recipient, OTHER.recipient} & set(ADDRESS.findall(texts))
    return found


def _with_attachment(size: int) -> EmailMessage:
    large = Attachment(filename="a.pdf", media_type="application/pdf", content=bytes(size))
    return msgspec.structs.replace(MESSAGE, attachments=(large,))
