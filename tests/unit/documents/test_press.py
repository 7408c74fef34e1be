"""The press: one document at a time, few waiting, the loop never held up."""

import asyncio
import threading

import pytest

from abaxus_core.errors import InvalidInput, RateLimited
from abaxus_core.services.documents.making import ROWS_MAX
from abaxus_core.services.documents.press import WAITING_MAX, Press
from tests.support.documents import documents, line, subject


class Slow:
    """Work that lasts until it is let go, and counts how many of it run at once."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began = threading.Event()
        self.running = 0
        self.most = 0

    def __call__(self) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        self.began.set()
        assert self.go.wait(30)
        self.running -= 1
        return threading.current_thread().name


async def test_one_at_a_time_few_wait_and_the_rest_are_told_to_come_back() -> None:
    slow = Slow()
    with Press() as press:
        asked = [asyncio.create_task(press.run(slow)) for _ in range(WAITING_MAX + 1)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited) as busy:
            await press.run(slow)
        assert (busy.value.code, busy.value.retry_after_s) == ("DOCUMENTS_BUSY", 2)

        slow.go.set()
        assert set(await asyncio.gather(*asked)) == {"press_0"}
        assert slow.most == 1
        assert await press.run(lambda: "again") == "again"


async def test_who_stops_waiting_leaves_the_queue() -> None:
    slow = Slow()
    with Press() as press:
        first = asyncio.create_task(press.run(slow))
        waiting = [asyncio.create_task(press.run(slow)) for _ in range(WAITING_MAX)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        last = asyncio.create_task(press.run(lambda: "last"))
        slow.go.set()
        assert await last == "last"
        assert await first == "press_0"


async def test_a_failure_is_the_callers_and_the_press_goes_on() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with Press() as press:
        with pytest.raises(ZeroDivisionError):
            await press.run(fail)
        assert await press.run(lambda: 1) == 1


async def test_the_end_gives_up_what_waits() -> None:
    slow = Slow()
    with Press() as press:
        first = asyncio.create_task(press.run(slow))
        second = asyncio.create_task(press.run(slow))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(slow.began.wait, 30)
        threading.Timer(0.2, slow.go.set).start()
    assert await first == "press_0"
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_a_page_and_a_pdf_are_refused_beyond_the_bound() -> None:
    long = subject([line()] * (ROWS_MAX + 1))
    for make in (documents().page, documents().pdf):
        with pytest.raises(InvalidInput) as refused:
            await make(long)
        assert refused.value.code == "DOCUMENT_TOO_LONG"
