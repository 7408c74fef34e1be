"""The newcomer's first command, as a process of its own: it bills once, however often it starts."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child import INHERITED

STARTED = "Serving until Ctrl-C"
WAIT_S_MAX = 300


class Dev:
    """`abaxus dev --demo` on a folder; `printed` is all it said until it served."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        # Started as a group of its own, as a terminal would, and with nothing of ours configured.
        environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
        command = (sys.executable, "-m", "abaxus_core.cli", "dev", "--demo", "--data", str(folder))
        self._process = subprocess.Popen(
            command,
            env={**environ, "PORT": str(port), "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.printed = "".join(self._lines_until_started())
        self.key = re.findall(r"abx_live_[0-9a-f]+", self.printed)[0]

    def get(self, path: str) -> dict[str, object]:
        request = urllib.request.Request(self.url + path)
        request.add_header("Authorization", f"Bearer {self.key}")
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, object] = json.load(response)
        return answer

    def interrupt(self) -> int:
        """Press Ctrl-C, wait, and return the exit code."""
        os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(WAIT_S_MAX)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _lines_until_started(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line
            if STARTED in line:
                return
        pytest.fail("abaxus dev ended before it served")


def test_a_month_is_billed_end_to_end_and_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    first = Dev(tmp_path / "kept", _free_port())
    try:
        assert "16 invoices created, 0 skipped, 0 failed" in first.printed
        assert "Departures" in first.printed
        assert "tier 1, up to 1,000" in first.printed
        assert "through the sandbox provider: succeeded" in first.printed
        assert "raw events; it holds" in first.printed
        assert "Subject:" in first.printed
        invoices = first.get("/v1/invoices?limit=500")
        assert first.interrupt() == 0
        _refused(first.url)

        second = Dev(tmp_path / "kept", _free_port())
        try:
            assert "0 invoices created" in second.printed
            assert second.key == first.key
            assert second.get("/v1/invoices?limit=500") == invoices
            assert second.interrupt() == 0
        finally:
            second.kill()
    finally:
        first.kill()


def _refused(url: str) -> None:
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
