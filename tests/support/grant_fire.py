"""Two API processes on one database and one cache, each with lines of its own to both, and callers
who change grants and check them through either, whatever becomes of the cache meanwhile.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from abaxus_core.kernel.database import Database
from tests.support.api import new_key
from tests.support.cache_servers import CacheServer
from tests.support.clock import FakeClock
from tests.support.fleet import Fleet, Member
from tests.support.grant_history import GrantHistory, Grants
from tests.support.grant_sites import Site, opened_site
from tests.support.granted_lives import (
    FEATURES,
    METRIC,
    RUNGS,
    SEATS,
    TIER,
    Asked,
    GrantedLife,
    plan_versions,
)
from tests.support.lean_http import Answer
from tests.support.metering import context_of
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually, until

ASKED: Final[Sequence[Sequence[str]]] = ((SEATS,), (TIER,), (SEATS, TIER), ())
ASKED_MAX: Final = 2_000
ASK_AGAIN_MS: Final = 20
CHECKS_PER_CHANGE: Final = 4
READ_AGAIN_MAX_MS: Final = 20
# Long enough that a customer is read from the cache, and from PostgreSQL as nothing new.
LEFT_ALONE_MAX_MS: Final = 600
REPEATED: Final = (429, 503)
IN_PROGRESS: Final = "REQUEST_IN_PROGRESS"
TOLD: Final = re.compile(
    r'abaxus_entitlement_cache_(?P<what>\w+)_total\{mode="live",outcome="(?P<outcome>\w+)"\} '
    r"(?P<count>\S+)"
)
TOO_LATE: Final = "VALIDATION_FAILED"


@dataclass(slots=True)
class Fire:
    """`met` counts what callers were answered other than 2xx, `faults` what was broken,
    `told` what became of reads, fills and invalidations.
    """

    up: Fleet
    database: Database
    server: CacheServer
    sites: Sequence[Site]
    dice: random.Random
    histories: list[GrantHistory] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    over: bool = False

    @property
    def pairs(self) -> int:
        return sum(history.pairs for history in self.histories)

    @property
    def changes(self) -> int:
        return sum(len(history.changes) for history in self.histories)

    async def customer(self) -> tuple[GrantHistory, GrantedLife]:
        """A new customer, to whom nothing is granted."""
        customer_id = f"customer-{len(self.histories)}"
        history = GrantHistory(customer_id)
        self.histories.append(history)
        await self.post(self.sites[0], "/v1/customers", {"id": customer_id})
        start = datetime.now(UTC) - timedelta(minutes=self.dice.randrange(1, 10_000))
        return history, GrantedLife(customer_id, self.dice, start)

    async def live(self, history: GrantHistory, life: GrantedLife) -> None:
        """Change a customer's grants until it is over; check after each answer, and all along."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._change_all_along(history, life))
            both.create_task(self._check_all_along(history))

    async def change(
        self, history: GrantHistory, asked: Asked, first: Site | None = None
    ) -> dict[str, Any]:
        """The answer to a change that is asked for, under one key, until there is one; then it
        holds, or when it is due."""
        site = first or self.dice.choice(self.sites)
        history.sent(f"{asked.what} through {site.name}", asked.grants)
        answer = await self._persist(site, asked)
        if asked.due is not None:
            await until(asked.due)
        history.was_answered()
        return answer

    async def check(self, history: GrantHistory, site: Site, *features: str) -> None:
        """Check features, all in one request, and judge what is shown. Raises Stale."""
        check = history.start(site.name)
        answer = await self._answer(_asking(site, history.customer_id, features))
        if answer is not None:
            assert answer.status == 200, answer.content
            history.judge(check, _shown(answer.json(), features))

    async def post(self, site: Site, path: str, body: Mapping[str, object]) -> None:
        answer = await site.client.post(path, body)
        assert answer.status == 201, answer.content

    async def begin(self, site: Site) -> None:
        """Start the site's process, again if it was killed."""
        site.pid = await self.up.start("cached_api", **site.environ)
        await eventually(self.up.is_ready, Member(kind="api", pid=site.pid, port=site.port))

    async def kill(self, site: Site) -> None:
        await self.count(site)
        await self.up.kill(Member(kind="api", pid=site.pid, port=site.port))

    async def count(self, site: Site) -> None:
        """Add to `told` what the site's process says of its cache; once a process, at its end."""
        for line in (await site.client.get("/metrics")).content.decode().splitlines():
            if found := TOLD.match(line):
                self.told[f"{found['what']} {found['outcome']}"] += int(float(found["count"]))

    async def _change_all_along(self, history: GrantHistory, life: GrantedLife) -> None:
        while not self.over:
            life.answered(await self.change(history, life.next()))
            for number in range(CHECKS_PER_CHANGE):
                site = self.sites[number % len(self.sites)]
                await self.check(history, site, *self.dice.choice(ASKED))
            await asyncio.sleep(self.dice.uniform(0, LEFT_ALONE_MAX_MS) / 1000)

    async def _check_all_along(self, history: GrantHistory) -> None:
        while not self.over:
            await self.check(history, self.dice.choice(self.sites), *self.dice.choice(ASKED))
            await asyncio.sleep(self.dice.uniform(0, READ_AGAIN_MAX_MS) / 1000)

    async def _persist(self, site: Site, asked: Asked) -> dict[str, Any]:
        for _ in range(ASKED_MAX):
            answer = await self._answer(site.client.post(asked.path, asked.body))
            if answer is not None and answer.status == 201:
                return answer.json()
            if answer is not None:
                assert answer.code == TOO_LATE, f"{asked}: {answer.content!r}"
                asked = asked.at_once()
            await asyncio.sleep(ASK_AGAIN_MS / 1000)
            site = self.dice.choice(self.sites)
        raise AssertionError(f"{asked.what} was never answered")

    async def _answer(self, asking: Awaitable[Answer]) -> Answer | None:
        """None where there is none, or one that says to ask again."""
        try:
            answer = await asking
        except (OSError, EOFError) as error:
            self.met[type(error).__name__] += 1
            return None
        if answer.status < 400:
            return answer
        self.met[answer.code] += 1
        repeated = answer.status in REPEATED or answer.code == IN_PROGRESS
        return None if repeated else answer


def _asking(site: Site, customer_id: str, features: Sequence[str]) -> Awaitable[Answer]:
    """A check of one, a check of several, or a question for all that there are."""
    if len(features) == 1:
        query = f"customer_id={customer_id}&feature_key={features[0]}"
        return site.client.get(f"/v1/entitlements/check?{query}")
    if features:
        body = {"customer_id": customer_id, "features": [{"feature_key": f} for f in features]}
        return site.client.post("/v1/entitlements/check", body)
    return site.client.get(f"/v1/entitlements?customer_id={customer_id}")


def _shown(told: Mapping[str, Any], features: Sequence[str]) -> Grants:
    """What is told of these, of all where none was named: then nobody grants what is left out."""
    entitlements = told.get("entitlements", [told])
    shown = {each["feature_key"]: _grant(each) for each in entitlements}
    return {feature: shown.get(feature) for feature in features or FEATURES}


def _grant(entitlement: Mapping[str, Any]) -> str | None:
    if not entitlement["granted"]:
        return None
    return str(entitlement["limit"] if entitlement["type"] == "limit" else entitlement["value"])


@asynccontextmanager
async def fire(
    up: Fleet,
    databases: TestDatabases,
    server: CacheServer,
    *,
    seed: int,
    rungs: int = RUNGS,
    **settings: str,
) -> AsyncIterator[Fire]:
    """Two sites that serve, and plans whose every version, of so many, grants something else."""
    key = await new_key(context_of(databases.live, FakeClock(datetime.now(UTC))), "admin")
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(opened_site(name, key, databases.dsn, server, settings))
            for name in ("A", "B")
        ]
        it = Fire(up, databases.live, server, sites, random.Random(seed))
        await asyncio.gather(*(it.begin(site) for site in sites))
        await _make_plans(it, rungs)
        yield it


async def _make_plans(it: Fire, rungs: int) -> None:
    await it.post(it.sites[0], "/v1/metrics", {"key": METRIC, "aggregation": "count"})
    for version in plan_versions(rungs):
        await it.post(it.sites[0], "/v1/price-plans", version)
