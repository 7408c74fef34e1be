"""One mail over one connection to the server, in the order that tells apart what was sent.

Until the last byte of the message is out, nothing can have been delivered; after it, no answer
means that nobody knows.
"""

import base64
import ssl
from contextlib import suppress
from typing import Final

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException

from abaxus_core.plugin.email import Capabilities, EmailMessage, EmailOutcome, Unsendable, mime
from abaxus_core.plugin.settings import Secret
from abaxus_plugins.smtp import wire
from abaxus_plugins.smtp.settings import Settings

CONNECT_TIMEOUT_S: Final = 20
COMMAND_TIMEOUT_S: Final = 60
DATA_TIMEOUT_S: Final = 300
"""For the answer to the final dot. RFC 5321 section 4.5.3.2.6 would wait ten minutes."""
QUIT_TIMEOUT_S: Final = 5


class Smtp:
    capabilities = Capabilities()

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tls = ssl.create_default_context(cafile=settings.ca_file)
        self._secrets = _spellings(settings)

    async def send(
        self,
        message: EmailMessage,
        key: str,  # noqa: ARG002 - SMTP knows no keys, the Message-ID is all there is
    ) -> EmailOutcome:
        try:
            content = mime(message)
        except Unsendable as error:
            return error.outcome()
        client = self._client(message)
        try:
            return await self._deliver(client, message, content)
        finally:
            client.close()

    async def _deliver(
        self, client: aiosmtplib.SMTP, message: EmailMessage, content: bytes
    ) -> EmailOutcome:
        try:
            await self._say_hello(client)
            await _address(client, message, content)
        except (SMTPException, OSError) as error:
            return wire.before_data(error, *self._secrets)
        except Unsendable as error:
            return error.outcome()
        try:
            reply = await client.data(content, timeout=DATA_TIMEOUT_S)
        except (SMTPException, OSError) as error:
            return wire.during_data(error, *self._secrets)
        with suppress(SMTPException, OSError):
            await client.quit(timeout=QUIT_TIMEOUT_S)
        return EmailOutcome(status="accepted", provider_message_id=wire.queue_id(reply.message))

    def _client(self, message: EmailMessage) -> aiosmtplib.SMTP:
        """What names us to the server is the sender's domain: the machine's name is not its
        business.
        """
        return aiosmtplib.SMTP(
            hostname=str(self._settings.host),  # uvloop's TLS takes no kind of str but str
            port=self._settings.effective_port,
            local_hostname=message.sender.rpartition("@")[2],
            timeout=COMMAND_TIMEOUT_S,
            use_tls=self._settings.security == "tls",
            start_tls=False,
            tls_context=self._tls,
        )

    async def _say_hello(self, client: aiosmtplib.SMTP) -> None:
        """Connect, encrypt, log in; never by what the server offers, always by the settings."""
        await client.connect(timeout=CONNECT_TIMEOUT_S)
        await client.ehlo()
        if self._settings.security == "starttls":
            await _encrypt(client)
        if self._settings.username is not None and self._settings.password is not None:
            if not client.supports_extension("auth"):
                raise wire.NoLogin("the server does not offer AUTH")
            await client.login(self._settings.username, self._settings.password.reveal())


async def _encrypt(client: aiosmtplib.SMTP) -> None:
    if not client.supports_extension("starttls"):
        raise wire.NotEncrypted("the server does not offer STARTTLS")
    try:
        await client.starttls(timeout=CONNECT_TIMEOUT_S)
    except SMTPResponseException as error:
        raise wire.NotEncrypted(f"STARTTLS: {error.code} {error.message}") from error
    await client.ehlo()


async def _address(client: aiosmtplib.SMTP, message: EmailMessage, content: bytes) -> None:
    """Name sender, size and the one recipient. Raises Unsendable for what the server says is too
    large.
    """
    options = []
    if client.supports_extension("size"):
        limit = client.esmtp_extensions.get("size", "")
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < len(content):
            raise Unsendable("too_large", f"{len(content)} bytes, the server takes {limit}")
        options.append(f"SIZE={len(content)}")
    await client.mail(message.sender, options=options)
    await client.rcpt(message.recipient)


def _spellings(settings: Settings) -> tuple[Secret, ...]:
    """The password as it goes over the wire: there are servers that repeat what they refuse."""
    if settings.password is None:
        return ()
    password = settings.password.reveal()
    plain = f"\0{settings.username}\0{password}"
    encoded = (base64.b64encode(text.encode()).decode() for text in (plain, password))
    return (settings.password, *map(Secret, encoded))
