"""The outbox: a mail becomes `<message id>.eml`, whole or not at all.

A second delivery of a mail writes the same bytes over the same file, so a reader sees it once.
"""

import asyncio
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from abaxus_core.plugin.email import Capabilities, EmailMessage, EmailOutcome, mime

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")


class Outbox:
    capabilities = Capabilities(idempotent=True)

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(
        self,
        message: EmailMessage,
        key: str,  # noqa: ARG002 - the file's name does its work
    ) -> EmailOutcome:
        try:
            content = mime(message)
        except ValueError as error:
            return EmailOutcome(
                status="rejected", code="malformed", scope="content", detail=str(error)[:500]
            )
        try:
            await asyncio.to_thread(_write, self._folder, _file_name(message), content)
        except OSError as error:
            return EmailOutcome(status="deferred", code="not_written", detail=str(error)[:500])
        return EmailOutcome(status="accepted", provider_message_id=_file_name(message))


def _file_name(message: EmailMessage) -> str:
    local_part = message.message_id.strip("<>").partition("@")[0]
    return f"{_UNSAFE.sub('_', local_part)[:128]}.eml"


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(folder / name)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
