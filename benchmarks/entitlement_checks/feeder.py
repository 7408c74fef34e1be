"""What goes on meanwhile: events through the API at a steady rate, and customers changing plans.

`python -m benchmarks.entitlement_checks.feeder ORDER` feeds until its standard input ends, and
prints what it `Fed`. It never sends faster to make up for more than a second that it lost.
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter_ns
from typing import Final

import msgspec

from benchmarks import http_load
from benchmarks.entitlement_checks import population
from benchmarks.entitlement_checks.installation import PLANS
from benchmarks.report import SECOND_NS

EVENTS_A_SECOND: Final = 2_000
BATCH: Final = 100
CHANGES_A_SECOND: Final = 3
KEY_BITS: Final = 160


class Order(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    key: str
    customers: int


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """`change_p50_ns`, `change_max_ns`: how long an API call that changes a plan took."""

    took_ns: int
    events: int
    changes: int
    change_p50_ns: int
    change_max_ns: int


class _Batch(msgspec.Struct):
    accepted: int
    rejected: int


class _Api:
    """One connection, one request after the other."""

    def __init__(self, order: Order) -> None:
        self._order = order

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._order.port)

    async def post(self, path: str, body: bytes, status: bytes) -> bytes:
        self._writer.write(http_load.request("POST", path, key=self._order.key, body=body))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 " + status), (path, head, answer)
        return answer


class _Events:
    """The events of now, of customers drawn as those of the checks are."""

    def __init__(self, api: _Api, customers: int) -> None:
        self._api = api
        self._customers = customers
        self._chance = random.Random()
        self.accepted = 0

    async def send(self) -> None:
        now = datetime.now(UTC).isoformat()
        body = b'{"events":[' + b",".join(self._event(now) for _ in range(BATCH)) + b"]}"
        answer = msgspec.json.decode(
            await self._api.post("/v1/events/batch", body, b"207"), type=_Batch
        )
        assert answer.rejected == 0, answer
        self.accepted += answer.accepted

    def _event(self, now: str) -> bytes:
        chance = self._chance
        number = population.customer_no(chance, self._customers)
        return (
            f'{{"customer_id":"{population.customer_id(number)}",'
            f'"metric_key":"{chance.choice(population.METRICS)[0]}",'
            f'"value":{chance.randrange(1, 100)},"timestamp":"{now}",'
            f'"idempotency_key":"{chance.getrandbits(KEY_BITS):040x}"}}'
        ).encode()


class _Changes:
    """Any customer goes to the next plan, at once."""

    def __init__(self, api: _Api, customers: int) -> None:
        self._api = api
        self._plans = {number: number % len(PLANS) for number in range(1, customers + 1)}
        self._chance = random.Random()
        self.took_ns: list[int] = []

    async def send(self) -> None:
        number = self._chance.randrange(len(self._plans)) + 1
        self._plans[number] = (self._plans[number] + 1) % len(PLANS)
        plan_id = PLANS[self._plans[number]]
        body = msgspec.json.encode(
            {"type": "plan_change", "effective": "immediate", "plan_id": plan_id}
        )
        since_ns = perf_counter_ns()
        await self._api.post(f"/v1/subscriptions/sub_{number}/amendments", body, b"201")
        self.took_ns.append(perf_counter_ns() - since_ns)


async def _feed(order: Order) -> Fed:
    apis = [_Api(order) for _ in range(2)]
    for api in apis:
        await api.open()
    events, changes = _Events(apis[0], order.customers), _Changes(apis[1], order.customers)
    stop, since_ns = asyncio.Event(), perf_counter_ns()
    print("ready", flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(_steadily(events.send, EVENTS_A_SECOND // BATCH, stop))
        group.create_task(_steadily(changes.send, CHANGES_A_SECOND, stop))
        await asyncio.to_thread(sys.stdin.read)
        stop.set()
    took_ns = sorted(changes.took_ns)
    return Fed(
        took_ns=perf_counter_ns() - since_ns,
        events=events.accepted,
        changes=len(took_ns),
        change_p50_ns=took_ns[len(took_ns) // 2],
        change_max_ns=took_ns[-1],
    )


async def _steadily(send: Callable[[], Awaitable[None]], rate: int, stop: asyncio.Event) -> None:
    due_ns = perf_counter_ns()
    while not stop.is_set():
        await send()
        now_ns = perf_counter_ns()
        due_ns = max(due_ns + SECOND_NS // rate, now_ns - SECOND_NS)
        await asyncio.sleep(max(0, due_ns - now_ns) / SECOND_NS)


def main() -> None:
    fed = asyncio.run(_feed(msgspec.json.decode(sys.argv[1], type=Order)))
    print(msgspec.json.encode(fed).decode())


if __name__ == "__main__":
    main()
