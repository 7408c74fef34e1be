"""A PostgreSQL server of our own, for `abaxus dev`, tests and benchmarks: no server to install.

Makes the data folder, starts the server on a free port of 127.0.0.1, stops it. Where the binaries
are is postgres_binaries.py's, as whom the server runs server_user.py's.
It dies with the process that started it, and one that a killed process left behind is stopped by
the next start (docs/decisions/0004-embedded-postgresql.md). Never used in production.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import child_processes, server_user
from abaxus_core.kernel.postgres_binaries import environment, find_binaries, major_version, run

BUILTIN_LOCALE_SINCE = 17
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
POLL_MS = 5
PORT_ATTEMPTS_MAX = 3
LOG_TAIL_CHARS = 2_000
USER = "abaxus"
_STATUS_LINE = 7


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How careful a server is: `settings` of postgresql.conf, and who may connect."""

    auth: str
    sync_initdb: bool
    settings: Mapping[str, str]


DURABLE = Profile(auth="scram-sha-256", sync_initdb=True, settings={"max_connections": "100"})
THROW_AWAY = Profile(
    auth="trust",
    sync_initdb=False,
    settings={
        "max_connections": "200",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "autovacuum": "off",
    },
)


class Server:
    """A running server; `dsn()` says how to reach it. Made by `running`."""

    def __init__(self, *, bin_dir: Path, data: Path, port: int, password: str | None) -> None:
        self.bin_dir = bin_dir
        self.data = data
        self.port = port
        self._password = password

    def dsn(self, database: str = "postgres") -> str:
        secret = f":{self._password}" if self._password else ""
        return f"postgresql://{USER}{secret}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])


@contextmanager
def running(
    home: Path,
    *,
    profile: Profile = DURABLE,
    bin_dir: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A server on the data in `home`, made if there is none yet; stopped on the way out.

    Call it from the main thread: Linux ties the server's life to the thread that starts it.
    Raises ConfigurationError where no binaries are found, another process uses `home`, or the
    server does not come up; the sentence says what to do.
    """
    home = server_user.reachable_home(home)
    binaries = find_binaries(bin_dir)
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        server_user.give(home)
        binaries = server_user.readable(binaries, home)
        _reap(home / "data")
        password = _initialise(home, binaries, profile)
        server, process = _start(home, binaries, {**profile.settings, **(settings or {})}, password)
        try:
            yield server
        finally:
            _stop(process)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold `home` for this process; the kernel lets go of it whatever becomes of us."""
    with (home / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _fault(f"another process already runs PostgreSQL in {home}") from None
        yield


def _initialise(home: Path, bin_dir: Path, profile: Profile) -> str | None:
    data, password_file = home / "data", home / "password"
    if not data.exists():
        server_user.write_private(password_file, secrets.token_hex(32))
        unfinished = home / "data-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        _initdb(bin_dir, unfinished, password_file, profile)
        unfinished.rename(data)
    made_by, running = int((data / "PG_VERSION").read_text()), major_version(bin_dir)
    if made_by != running:
        raise _fault(
            f"{home} was made by PostgreSQL {made_by} and {bin_dir} is {running}: "
            "use the former, or wipe the folder"
        )
    return password_file.read_text() if profile.auth != "trust" else None


def _initdb(bin_dir: Path, data: Path, password_file: Path, profile: Profile) -> None:
    command = [
        str(bin_dir / "initdb"),
        f"--pgdata={data}",
        f"--username={USER}",
        f"--pwfile={password_file}",
        f"--auth={profile.auth}",
        "--encoding=UTF8",
        *_locale(major_version(bin_dir)),
        *([] if profile.sync_initdb else ["--no-sync"]),
    ]
    done = run(command, env=environment(bin_dir), **server_user.identity())
    if done.returncode != 0:
        raise _fault(f"initdb failed: {done.stderr.strip()[-LOG_TAIL_CHARS:]}")


def _locale(major: int) -> list[str]:
    if major >= BUILTIN_LOCALE_SINCE:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]


def _start(
    home: Path, bin_dir: Path, settings: Mapping[str, str], password: str | None
) -> tuple[Server, "subprocess.Popen[bytes]"]:
    for attempt in range(PORT_ATTEMPTS_MAX):
        port = _free_port()
        with (home / "log").open("wb") as log:
            process = _spawn(_command(bin_dir, home / "data", port, settings), bin_dir, log)
        try:
            _wait_until_ready(process, home / "data")
        except ConfigurationError:
            _stop(process)
            tail = (home / "log").read_text(errors="replace")[-LOG_TAIL_CHARS:].strip()
            if "in use" in tail and attempt + 1 < PORT_ATTEMPTS_MAX:
                continue
            raise _fault(f"PostgreSQL did not start: {tail}") from None
        return Server(bin_dir=bin_dir, data=home / "data", port=port, password=password), process
    raise _fault("PostgreSQL found no free port")


def _command(bin_dir: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "timezone": "UTC",
        "log_timezone": "UTC",
        **settings,
    }
    pairs = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return [str(bin_dir / "postgres"), "-D", str(data), *pairs]


def _spawn(command: Sequence[str], bin_dir: Path, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own binaries, no shell
        command,
        env=environment(bin_dir),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=child_processes.die_with_parent(signal.SIGINT),
        **server_user.identity(),
    )


def _wait_until_ready(process: "subprocess.Popen[bytes]", data: Path) -> None:
    """Wait for what pg_ctl waits for: the last line of postmaster.pid saying "ready"."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        lines = _postmaster_lines(data)
        ours = len(lines) > _STATUS_LINE and lines[0] == str(process.pid)
        if ours and lines[_STATUS_LINE].strip() == "ready":
            return
        time.sleep(POLL_MS / 1000)
    raise _fault("PostgreSQL did not start")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Fast shutdown; an immediate one (recovery at the next start) when that takes too long."""
    for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue


def _reap(data: Path) -> None:
    """Stop a server that a killed process left on `data`; the lock says that nobody owns it."""
    lines = _postmaster_lines(data)
    if not lines or not _is_postmaster(int(lines[0]), data):
        return
    os.kill(int(lines[0]), signal.SIGINT)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _is_postmaster(int(lines[0]), data):
        if time.monotonic() > deadline:
            raise _fault(f"PostgreSQL, pid {lines[0]}, runs on {data}: stop it")
        time.sleep(POLL_MS / 1000)


def _is_postmaster(pid: int, data: Path) -> bool:
    command = _command_line(pid)
    return "postgres" in command and str(data) in command


def _command_line(pid: int) -> str:
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return ""
    return run(["ps", "-o", "command=", "-p", str(pid)]).stdout


def _postmaster_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fault(sentence: str) -> ConfigurationError:
    return ConfigurationError([sentence])
