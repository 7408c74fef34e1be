import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from abaxus_core.kernel import log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_event_is_one_json_line_with_the_ids_of_its_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("info", "json")
    token = log.request_id.set("req_1")
    structlog.get_logger().info("metric.created", metric_id="met_1")
    structlog.get_logger().debug("unheard")
    log.request_id.reset(token)
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "metric.created"
    assert line["level"] == "info"
    assert line["request_id"] == "req_1"
    assert line["metric_id"] == "met_1"
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", ["api_key", "Authorization", "smtp_password", "database_url"])
def test_secret_is_blanked(capsys: pytest.CaptureFixture[str], name: str) -> None:
    log.configure("info", "json")
    structlog.get_logger().info("started", **{name: "hunter2"})
    assert "hunter2" not in capsys.readouterr().err


def test_libraries_speak_the_same_format_from_warning_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("debug", "json")
    logging.getLogger("asyncio").info("unheard")
    logging.getLogger("asyncio").warning("slow %s", "callback")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"]) == ("slow callback", "warning")


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "text")
    structlog.get_logger().info("started", port=8080)
    assert "port=8080" in capsys.readouterr().err


@pytest.mark.parametrize("format_", ["json", "text"])
def test_a_traceback_shows_no_variables(
    capsys: pytest.CaptureFixture[str], format_: Literal["json", "text"]
) -> None:
    log.configure("info", format_)
    key = "hunter" + str(2)

    def fail(_key: str) -> None:
        raise RuntimeError("no such thing")

    try:
        fail(key)
    except RuntimeError:
        structlog.get_logger().exception("failed")
    written = capsys.readouterr().err
    assert "no such thing" in written
    assert key not in written
