"""Who takes too long is ended; nobody else is."""

import asyncio

import pytest

from abaxus_core.http import patience
from abaxus_core.http.patience import Patience


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_EVERY_S", 0)


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_what_takes_too_long_has_timed_out() -> None:
    patient = Patience(0)
    with pytest.raises(TimeoutError):
        await patient.within(for_ever())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_many_at_once_are_ended_each() -> None:
    patient = Patience(0)
    ended = await asyncio.gather(
        *(patient.within(for_ever()) for _ in range(50)), return_exceptions=True
    )
    assert [type(error) for error in ended] == [TimeoutError] * 50


async def test_what_ends_in_time_returns_or_raises() -> None:
    patient = Patience(60)

    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    async def fail() -> str:
        raise KeyError("x")

    assert await patient.within(work()) == "done"
    with pytest.raises(KeyError):
        await patient.within(fail())


async def test_who_is_cancelled_by_others_stays_cancelled() -> None:
    task = asyncio.create_task(Patience(60).within(for_ever()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_who_is_patient_waits_while_others_are_given_up() -> None:
    impatient, patient = Patience(0), Patience(60)
    go_on = asyncio.Event()
    waiting = asyncio.create_task(patient.within(go_on.wait()))
    with pytest.raises(TimeoutError):
        await impatient.within(for_ever())
    go_on.set()
    assert await waiting is True
