"""The code of docs/enforcement.md, run as it stands there, does what the page says."""

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.clock import FakeClock
from tests.support.metering import fetch
from tests.support.shop import NOW, Shop

PAGE = Path(__file__).parents[3] / "docs" / "enforcement.md"
BLOCK = re.compile(r"^```(?P<language>python|json)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PATTERNS = {"hard_block", "never_over", "soft_overage", "within_grace"}


def blocks(language: str) -> list[str]:
    found = BLOCK.finditer(PAGE.read_text())
    return [block["code"] for block in found if block["language"] == language]


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page defines."""
    names: dict[str, Any] = {}
    for code in blocks("python"):
        exec(compile(code, str(PAGE), "exec"), names)
    assert set(names) >= PATTERNS
    return names


async def test_hard_block(shop: Shop, page: dict[str, Any]) -> None:
    await shop.grant(1000)
    await shop.books.use(900, "2026-05-02T00:00:00Z", metric_key="tokens")
    asked = [await page["hard_block"](shop.client, "acme", quantity) for quantity in (100, 101)]
    assert asked == [True, False]


async def test_never_over(shop: Shop, page: dict[str, Any]) -> None:
    """Thirty at once, each of up to a hundred, of which each uses sixty."""
    await shop.grant(1000)

    async def work() -> tuple[int, str]:
        await asyncio.sleep(0)
        return 60, NOW

    async def one(number: int) -> object:
        return await page["never_over"](shop.client, "acme", 100, f"request-{number}", work)

    used = await asyncio.gather(*(one(number) for number in range(30)))
    assert set(used) <= {60, None}
    usage = Decimal((await shop.check())["current_usage"])
    assert usage == 60 * used.count(60)
    assert 600 <= usage <= 1000
    assert await page["never_over"](shop.client, "acme", 100, "request-0", work) == used[0]
    assert Decimal((await shop.check())["current_usage"]) == usage


async def test_work_that_fails_gives_its_room_back(shop: Shop, page: dict[str, Any]) -> None:
    await shop.grant(1000)

    async def work() -> tuple[int, str]:
        raise RuntimeError("out of paper")

    with pytest.raises(RuntimeError, match="out of paper"):
        await page["never_over"](shop.client, "acme", 1000, "request", work)
    assert await shop.available() == "1000"
    assert await fetch(shop.context.database, "SELECT FROM events") == []


async def test_soft_overage(shop: Shop, page: dict[str, Any]) -> None:
    await shop.grant(1000)
    warned = []

    async def warn(share: int) -> None:
        warned.append(share)

    for used in (799, 1, 199, 1, 500):
        await shop.books.use(used, "2026-05-02T00:00:00Z", metric_key="tokens")
        assert await page["soft_overage"](shop.client, "acme", warn)
    assert warned == [80, 80, 100, 100]


async def test_grace(shop: Shop, page: dict[str, Any], clock: FakeClock) -> None:
    (limits,) = blocks("json")
    await shop.plan("a", *msgspec.json.decode(limits))
    await shop.books.subscribe(plan_id="a", start="2026-05-01")
    start = datetime(2026, 5, 10, 12, tzinfo=UTC)
    within = page["within_grace"]
    assert await within(shop.client, "acme", 1000, None, start) == (True, None)
    await shop.books.use(1000, "2026-05-02T00:00:00Z", metric_key="tokens")
    assert await within(shop.client, "acme", 200, None, start) == (True, start)
    assert await within(shop.client, "acme", 201, start, start) == (False, start)
    late = start + page["GRACE"]
    assert await within(shop.client, "acme", 1, start, late) == (False, start)
    clock.set(datetime(2026, 6, 1, tzinfo=UTC))
    assert await within(shop.client, "acme", 1, start, clock()) == (True, None)
