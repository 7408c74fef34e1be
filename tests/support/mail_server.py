"""SMTP servers on real sockets: aiosmtpd as a good one with TLS and AUTH, and one that misbehaves
as it is told.
"""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from abaxus_core.kernel import plugin_manager

USERNAME = "mailer"
PASSWORD = "smtp-password-hunter2"


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own; `ca_file` is what clients are to trust."""

    ca: trustme.CA
    ca_file: Path

    def server_context(self, name: str = "localhost") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context


def make_authority(folder: Path) -> Authority:
    ca = trustme.CA()
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    return Authority(ca, ca_file)


@dataclass(frozen=True)
class Delivered:
    """A mail as it came: envelope and bytes, and on what kind of connection."""

    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    authenticated: bool


@dataclass
class Inbox:
    """What aiosmtpd asks; it takes all mail. `logins` counts the passwords it was shown, `busy` is
    what it says to each instead of looking at it.
    """

    port: int = 0
    mails: list[Delivered] = field(default_factory=list)
    logins: int = 0
    busy: str | None = None

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.mails.append(
            Delivered(
                sender=envelope.mail_from,
                recipients=envelope.rcpt_tos,
                content=envelope.content,
                encrypted=session.ssl is not None
                or server.transport.get_extra_info("sslcontext") is not None,
                authenticated=bool(session.authenticated),
            )
        )
        return "250 2.0.0 Ok: queued as 4BC2D"

    def authenticate(self, server, session, envelope, mechanism, auth_data):
        """`handled=False` makes aiosmtpd answer 535; with True the client would wait for ever."""
        self.logins += 1
        if self.busy:
            return AuthResult(success=False, handled=False, message=self.busy)
        right = isinstance(auth_data, LoginPassword) and auth_data == LoginPassword(
            USERNAME.encode(), PASSWORD.encode()
        )
        return AuthResult(success=right, handled=False)


@asynccontextmanager
async def mail_server(
    *, security: str, authority: Authority, name: str = "localhost", login: bool = False, **options
) -> AsyncIterator[Inbox]:
    """aiosmtpd on 127.0.0.1 with `security` as the smtp plugin names it."""
    inbox = Inbox()
    context = authority.server_context(name)
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if login:
        options |= {"authenticator": inbox.authenticate, "auth_required": True}
        options["auth_require_tls"] = security == "starttls"

    def connection():
        with warnings.catch_warnings():  # it does not see that the TLS around it is required
            warnings.simplefilter("ignore", UserWarning)
            return SMTP(inbox, hostname="mx.test.example", **options)

    server = await asyncio.get_running_loop().create_server(
        connection, "127.0.0.1", 0, ssl=context if security == "tls" else None
    )
    async with server:
        inbox.port = server.sockets[0].getsockname()[1]
        yield inbox


SILENCE = b"silence"
HANG_UP = b"hang up"
GOOD: Mapping[str, bytes] = {
    "CONNECT": b"220 mx.test.example",
    "EHLO": b"250-mx.test.example\r\n250-SIZE 1000000\r\n250 PIPELINING",
    "MAIL": b"250 2.1.0 Ok",
    "RCPT": b"250 2.1.5 Ok",
    "DATA": b"354 go on",
    ".": b"250 2.0.0 OK id=1abc-2",
    "QUIT": b"221 bye",
}


@dataclass
class Misbehaving:
    """`replies` says what is answered at each verb; `said` is every line that came."""

    replies: dict[str, bytes]
    port: int = 0
    said: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    def verbs(self) -> list[str]:
        return [_verb(line) for line in self.said]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader, writer) -> None:
        verb = "CONNECT"
        while await self._reply(verb, writer):
            if verb == "DATA" and self.replies["DATA"].startswith(b"354"):
                stuffed = await reader.readuntil(b"\r\n.\r\n")
                self.messages.append(stuffed[:-3].replace(b"\r\n..", b"\r\n."))
                verb = "."
                continue
            line = await reader.readline()
            if not line:
                return
            self.said.append(line)
            verb = _verb(line)

    async def _reply(self, verb: str, writer) -> bool:
        reply = self.replies.get(verb, b"502 5.5.1 not implemented")
        if reply == HANG_UP:
            return False
        if reply == SILENCE:
            await asyncio.Event().wait()
        writer.write(reply + b"\r\n")
        await writer.drain()
        return verb != "QUIT"


def _verb(line: bytes) -> str:
    return line.split(b" ")[0].strip().decode("ascii", "replace").upper()


@asynccontextmanager
async def misbehaving(**replies: bytes) -> AsyncIterator[Misbehaving]:
    """A server without TLS that answers `GOOD` but for `replies`; `dot` is to the final one."""
    dot = {".": replies.pop("dot")} if "dot" in replies else {}
    script = Misbehaving({**GOOD, **replies, **dot})
    tasks: set[asyncio.Task] = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        await script.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        script.port = server.sockets[0].getsockname()[1]
        yield script
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def smtp_to(port: int) -> plugin_manager.Plugins:
    """The smtp plugin, configured to talk to that port in the clear."""
    environ = {"SMTP_HOST": "localhost", "SMTP_PORT": str(port), "SMTP_SECURITY": "none"}
    return plugin_manager.load(["smtp"], environ)
