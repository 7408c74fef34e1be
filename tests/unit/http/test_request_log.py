"""The line of a request, in the form and from the level on of all others."""

import asyncio
import io
import json
import sys
from datetime import UTC, datetime

import pytest

from abaxus_core.http import request_log
from abaxus_core.http.dispatch import Seen
from abaxus_core.http.request_log import SAID, RequestLog
from abaxus_core.kernel.config import LogSettings
from tests.support.logs import logged_by

NOW = datetime(2026, 5, 1, 12, 0, 0, 123, tzinfo=UTC)
SEEN = Seen(request_id="req_1", method="GET", key_id="key_1", code="NOT_FOUND")


class Written:
    """In place of standard error."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()


async def test_json_has_what_any_line_has(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Written()
    monkeypatch.setattr(sys, "stderr", file)
    RequestLog(LogSettings(), lambda: NOW).answered(SEEN, "/v1/x\n", 404, 56)
    await turn()
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
    assert file.buffer.getvalue().count(b"\n") == 1


async def test_lines_of_one_turn_are_written_together_and_none_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = Written()
    monkeypatch.setattr(sys, "stderr", file)
    lines = RequestLog(LogSettings(), lambda: NOW)
    for number in range(3):
        lines.answered(SEEN, "/", 200, number)
    await turn()
    lines.answered(SEEN, "/", 200, 3)
    await turn()
    written = file.buffer.getvalue().splitlines()
    assert [json.loads(line)["took_us"] for line in written] == [0, 1, 2, 3]


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
    await turn()
    assert [line["log_level"] for line in heard] == ["info"]
    assert file.buffer.getvalue() == b""


async def turn() -> None:
    """What the loop was to do next is done when this returns."""
    await asyncio.sleep(0)
