"""The line of a request, in the form and from the level on of all others."""

import io
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from abaxus_core.http import request_log
from abaxus_core.http.dispatch import Seen
from abaxus_core.http.request_log import SAID, RequestLog
from abaxus_core.kernel import log_lines
from abaxus_core.kernel.config import LogSettings
from tests.support.logs import logged_by
from tests.support.waiting import eventually

NOW = datetime(2026, 5, 1, 12, 0, 0, 123, tzinfo=UTC)
SEEN = Seen(request_id="req_1", method="GET", key_id="key_1", code="NOT_FOUND")


PROGRAM = """
import os
from abaxus_core.http.dispatch import Seen
from abaxus_core.http.request_log import RequestLog
from abaxus_core.kernel import event_loop
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.config import LogSettings

async def answer():
    lines = RequestLog(LogSettings(), system_clock)
    for _ in "ab":
        lines.answered(Seen(request_id="req_1", method="GET"), "/", 200, 1)
    {end}

event_loop.run(answer())
"""


class Written:
    """In place of standard error."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()

    async def has(self, lines: int) -> bool:
        return self.buffer.getvalue().count(b"\n") == lines


async def test_json_has_what_any_line_has(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Written()
    monkeypatch.setattr(sys, "stderr", file)
    lines = RequestLog(LogSettings(), lambda: NOW)
    lines.answered(SEEN, "/v1/x\n", 404, 56)
    await eventually(file.has, 1)
    assert json.loads(file.buffer.getvalue()) == {
        "event": "request",
        "level": "info",
        "timestamp": "2026-05-01T12:00:00.000123Z",
        "request_id": "req_1",
        "method": "GET",
        "path": "/v1/x\n",
        "status": 404,
        "code": "NOT_FOUND",
        "key_id": "key_1",
        "took_us": 56,
    }


async def test_lines_are_kept_for_a_moment_and_none_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Written()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr(log_lines, "LINES_MAX", 3)
    lines = RequestLog(LogSettings(), lambda: NOW)
    for number in range(5):
        lines.answered(SEEN, "/", 200, number)
    assert len(file.buffer.getvalue().splitlines()) == 3
    await eventually(file.has, 5)
    lines.answered(SEEN, "/", 200, 5)
    await eventually(file.has, 6)
    written = file.buffer.getvalue().splitlines()
    assert [json.loads(line)["took_us"] for line in written] == [*range(6)]


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)", "raise KeyError", "os.kill(0, 2)"])
def test_the_last_lines_of_a_process_are_written(end: str) -> None:
    """The group that is interrupted is the child's own."""
    program = PROGRAM.format(end=end)
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, start_new_session=True, check=False
    )
    assert done.stderr.count(b'"event":"request"') == 2


async def test_text_goes_the_way_of_all_lines() -> None:
    lines = RequestLog(LogSettings(log_format="text"), lambda: NOW)
    with logged_by(request_log) as heard:
        lines.answered(SEEN, "/v1/x", 404, 56)
    (line,) = heard
    assert line["event"] == "request"
    assert {name: line[name] for name in SAID} == {
        "method": "GET",
        "path": "/v1/x",
        "status": 404,
        "code": "NOT_FOUND",
        "key_id": "key_1",
        "took_us": 56,
    }


async def test_above_info_it_is_left_to_the_threshold_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Written()
    monkeypatch.setattr(sys, "stderr", file)
    lines = RequestLog(LogSettings(log_level="warning"), lambda: NOW)
    with logged_by(request_log) as heard:
        lines.answered(SEEN, "/v1/x", 404, 56)
    assert [line["log_level"] for line in heard] == ["info"]
    assert file.buffer.getvalue() == b""
