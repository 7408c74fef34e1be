"""Servers of a benchmark's own: a fresh, durable PostgreSQL; how it waits for others."""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import psutil

from abaxus_core.kernel import embedded_postgres, log
from abaxus_core.kernel.embedded_postgres import Server

LISTENING_ATTEMPTS_MAX = 2_000
POLL_MS = 10


@contextmanager
def durable(settings: Mapping[str, str]) -> Iterator[Server]:
    """A server with these settings beside those that make it durable; gone on the way out."""
    log.configure("warning", "json")
    home = Path(mkdtemp(prefix="abaxus-bench-"))
    home.chmod(0o755)
    try:
        with embedded_postgres.running(
            home / "postgres", profile=embedded_postgres.DURABLE, settings=settings
        ) as server:
            yield server
    finally:
        rmtree(home, ignore_errors=True)


def cpu_us(server: Server) -> int:
    """What all processes of PostgreSQL have used, those that ended included."""
    postmaster = psutil.Process(server.pid)
    ended = postmaster.cpu_times()
    seconds = ended.user + ended.system + ended.children_user + ended.children_system
    for child in postmaster.children():
        with suppress(psutil.NoSuchProcess):
            used = child.cpu_times()
            seconds += used.user + used.system
    return round(seconds * 1_000_000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int) -> None:
    for _ in range(LISTENING_ATTEMPTS_MAX):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(POLL_MS / 1000)
    raise TimeoutError("the server does not listen")
