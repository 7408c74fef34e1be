"""TLS in front of a plain server: what a service on the internet looks like to a process that
speaks to it by its name. The certificate is of an authority of the test's own.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme

CHUNK_BYTES = 1 << 16


@dataclass
class Front:
    """`said`: every byte that clients sent, by connection, as the plain server got it."""

    port: int = 0
    said: list[bytearray] = field(default_factory=list)


@asynccontextmanager
async def tls_front(behind: int, names: Iterable[str], ca: trustme.CA) -> AsyncIterator[Front]:
    """A server for `names` that carries what it decrypts to the port `behind`."""
    front = Front()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = bytearray()
        front.said.append(said)
        there, here = await asyncio.open_connection("127.0.0.1", behind)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, here, said))
                group.create_task(_carry(there, writer, bytearray()))
        except* ConnectionError:
            pass
        finally:
            here.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    front.port = server.sockets[0].getsockname()[1]
    try:
        yield front
    finally:
        server.close()


def authority(folder: Path) -> tuple[trustme.CA, Path]:
    """A new certificate authority, and the file that those who trust it are given."""
    ca = trustme.CA()
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    return ca, ca_file


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytearray
) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        said += chunk
        writer.write(chunk)
        await writer.drain()
    with suppress(OSError, NotImplementedError):
        writer.close()
