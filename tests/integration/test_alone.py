"""The demo, all of it, where there is no network: it needs nobody, and tries to reach nobody.

Every Python process notes whom it looks up and connects to; of everything else the kernel counts
what no route leads to. Where a machine gives no network namespace, what the processes note must be
this machine all the same, and the test of the namespace says why it was skipped.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import alone, child
from tests.support.ports import free_port

STARTED = "Serving until Ctrl-C"
WAIT_S_MAX = 300
REFUSAL = alone.refusal()
PREFIX = () if REFUSAL else alone.PREFIX
TEST_NET = "192.0.2.1"  # RFC 5737: of nobody


@contextmanager
def demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`abaxus dev --demo` until it serves, and what it said until then."""
    folder.chmod(0o755)
    environ = {**child.environ(folder), "PORT": str(free_port()), "COLUMNS": "200"}
    command = ("-m", "abaxus_core.cli", "dev", "--demo", "--data", str(folder / "kept"))
    process = subprocess.Popen(
        [*PREFIX, sys.executable, *command],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        yield process, "".join(_lines_until_started(process))
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(WAIT_S_MAX)
        assert process.stdout is not None
        process.stdout.close()


def _lines_until_started(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if STARTED in line:
            return
    pytest.fail("abaxus dev ended before it served")


def test_the_demo_needs_nobody_and_tries_to_reach_nobody(tmp_path: Path) -> None:
    with demo(tmp_path) as (process, printed):
        assert "16 invoices created, 0 skipped, 0 failed" in printed
        assert "through the sandbox provider: succeeded" in printed
        assert "Subject:" in printed
        strays = 0 if REFUSAL else alone.astray(process.pid)
    assert process.returncode == 0
    assert strays == 0
    assert child.elsewhere(tmp_path) == set()
    assert "127.0.0.1" in child.reached(tmp_path)


@pytest.mark.skipif(REFUSAL is not None, reason=f"no network namespace here: {REFUSAL}")
def test_in_that_namespace_an_attempt_fails_and_is_counted_and_noted(tmp_path: Path) -> None:
    code = (
        "import socket, time\n"
        f"try: socket.create_connection(({TEST_NET!r}, 443))\n"
        "except OSError as error: print(error, flush=True)\n"
        "input()"
    )
    with subprocess.Popen(
        [*alone.PREFIX, sys.executable, "-c", code],
        env=child.environ(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "Network is unreachable" in process.stdout.readline()
        strays = alone.astray(process.pid)
        process.communicate("\n")
    assert strays == 1
    assert child.elsewhere(tmp_path) == {TEST_NET}
