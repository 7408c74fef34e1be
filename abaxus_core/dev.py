"""`abaxus dev`: PostgreSQL, API and worker in one process tree, for a person at a terminal.

Everything it needs to remember lies in one folder: the database, the master key, an API key and
the mails. API and worker are the same commands that production runs, as child processes.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from abaxus_core import app
from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import (
    child_processes,
    config,
    embedded_postgres,
    http_transport,
    log,
    migrations,
    server_user,
)

DATABASE = ("DATABASE_URL", "DATABASE_SSL_MODE")
DATABASE_NAME = "postgres"
MASTER_KEY_BYTES = 32
READY_TIMEOUT_S = 30
POLL_MS = 50
STOP_TIMEOUT_S = 3


@dataclass(frozen=True, slots=True)
class Stack:
    """What is running: where the API answers, a key for it, and the two processes.

    `database`: the settings by which a command of the shell reaches the same data.
    """

    url: str
    key: str
    database: Mapping[str, str]
    data_dir: Path
    outbox_dir: Path
    api_pid: int
    worker_pid: int


def reset(data_dir: Path) -> None:
    """Forget everything an earlier run kept."""
    shutil.rmtree(server_user.reachable_home(data_dir / "postgres"), ignore_errors=True)
    shutil.rmtree(data_dir, ignore_errors=True)


@asynccontextmanager
async def stack(
    data_dir: Path, *, port: int, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Stack]:
    """Start everything on the data in `data_dir`, stop it on the way out.

    DATABASE_URL in `environ` is used in place of an embedded server. Raises ConfigurationError
    with a sentence when something does not start.
    """
    data_dir = _prepared(data_dir)
    given = dict(os.environ if environ is None else environ)
    async with AsyncExitStack() as opened:
        database = _database(opened, data_dir, given)
        child_environ = {**_defaults(data_dir), **given, **database, "PORT": str(port)}
        settings = config.load(child_environ)
        log.configure(settings.log_level, settings.log_format)
        await migrations.migrate(settings.database_url.reveal(), app.pool_settings(settings, "dev"))
        key = await _api_key(data_dir, child_environ)
        worker = await _child(opened, "worker", child_environ)
        api = await _child(opened, "api", child_environ)
        url = f"http://127.0.0.1:{port}"
        await _ready(url, api, worker)
        yield Stack(
            url=url,
            key=key,
            database={name: child_environ[name] for name in DATABASE if name in child_environ},
            data_dir=data_dir,
            outbox_dir=Path(child_environ["OUTBOX_DIR"]),
            api_pid=api.pid,
            worker_pid=worker.pid,
        )


def _prepared(data_dir: Path) -> Path:
    data_dir.mkdir(parents=True, exist_ok=True)
    return data_dir.resolve()


def _database(opened: AsyncExitStack, data_dir: Path, environ: Mapping[str, str]) -> dict[str, str]:
    if environ.get("DATABASE_URL"):
        return {}
    server = opened.enter_context(embedded_postgres.running(data_dir / "postgres"))
    return {"DATABASE_URL": server.dsn(DATABASE_NAME), "DATABASE_SSL_MODE": "disable"}


def _defaults(data_dir: Path) -> dict[str, str]:
    return {
        "API_MASTER_KEY": _kept(data_dir / "master-key", secrets.token_hex(MASTER_KEY_BYTES)),
        "API_RATE_LIMIT_RPM": "0",
        "PLUGINS": "sandbox,outbox",
        "PAYMENT_PROVIDER": "sandbox",
        "EMAIL_PROVIDER": "outbox",
        "EMAIL_FROM": "billing@airport.example",
        "OUTBOX_DIR": str(data_dir / "outbox"),
        "LOG_LEVEL": "warning",
        "LOG_FORMAT": "text",
    }


def _kept(path: Path, fresh: str) -> str:
    """What the file holds; made of `fresh`, for this user's eyes, where there is none."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(fresh)
    return path.read_text()


async def _api_key(data_dir: Path, environ: Mapping[str, str]) -> str:
    """The admin key of this folder, made at its first start."""
    path = data_dir / "api-key"
    if path.exists():
        return path.read_text()
    return _kept(path, await app.create_key(environ, name="dev", scopes=("admin",), mode="live"))


async def _child(
    opened: AsyncExitStack, command: str, environ: Mapping[str, str]
) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "abaxus_core.cli",
        command,
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=child_processes.die_with_parent(signal.SIGTERM),
    )
    opened.push_async_callback(_stop, process)
    return process


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Drain, and kill what does not come to an end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()


async def _ready(url: str, *processes: asyncio.subprocess.Process) -> None:
    """Return once the API answers its health check; raise if a process ends before."""
    api = httpx.AsyncClient(transport=http_transport.network(), trust_env=False)
    async with api as client, asyncio.timeout(READY_TIMEOUT_S):
        while True:
            if any(process.returncode is not None for process in processes):
                raise ConfigurationError(["a process ended before it was ready, see above"])
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/healthz")).is_success:
                    return
            await asyncio.sleep(POLL_MS / 1000)
