"""What breaks caches in other tests breaks them indeed."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Broken
from redis.exceptions import TimeoutError as Unanswered

from tests.support.cache_servers import KINDS, CacheServer, Line, cache_server, line_to
from tests.support.waiting import eventually

PATIENCE_S = 0.2


@pytest.fixture(params=KINDS)
async def server(request):
    async with cache_server(request.param) as server:
        yield server


@pytest.fixture
async def line(server):
    async with line_to(server.port) as line:
        yield line


@pytest.fixture
async def redis(line):
    client = Redis.from_url(line.url, socket_timeout=PATIENCE_S, retry=None)
    async with client:
        yield client


async def test_killed_and_started_again_it_is_another_run_that_remembers_nothing(
    server: CacheServer, redis: Redis
) -> None:
    await redis.set("key", "value")
    before = await redis.info("server")
    await server.kill()
    with pytest.raises(Broken):
        await redis.get("key")
    await server.start()
    assert await redis.get("key") is None
    assert (await redis.info("server"))["run_id"] != before["run_id"]


async def test_stopped_it_answers_nobody_and_then_does_what_it_was_sent(
    server: CacheServer, redis: Redis
) -> None:
    await redis.ping()
    server.pause()
    with pytest.raises(Unanswered):
        await redis.set("key", "value")
    server.resume()
    assert await redis.get("key") == b"value"


async def test_flushed_it_is_the_same_run(server: CacheServer, redis: Redis) -> None:
    await redis.set("key", "value")
    before = await redis.info("server")
    await server.flush()
    assert await redis.get("key") is None
    assert (await redis.info("server"))["run_id"] == before["run_id"]


async def test_a_parted_line_is_silent_and_delivers_when_it_is_mended(
    server: CacheServer, line: Line, redis: Redis
) -> None:
    await redis.ping()
    line.part()
    with pytest.raises(Unanswered):
        await redis.set("key", "value")
    assert await server.ask("EXISTS", "key") == b":0"
    line.mend()
    await eventually(_holds, server, "key")


async def test_what_is_asked_of_a_deaf_line_is_done(
    server: CacheServer, line: Line, redis: Redis
) -> None:
    await redis.ping()
    line.deafen()
    with pytest.raises(Unanswered):
        await redis.set("key", "value")
    assert await server.ask("EXISTS", "key") == b":1"


async def test_a_cut_line_takes_new_connections(line: Line, redis: Redis) -> None:
    async with redis.client() as held:
        await held.ping()
        line.cut()
        with pytest.raises(Broken):
            await held.ping()
    assert await redis.ping()


async def test_a_slow_line_takes_its_time_and_leaves_the_other_alone(
    server: CacheServer, line: Line, redis: Redis
) -> None:
    await redis.ping()
    line.delay_s = PATIENCE_S
    with pytest.raises(Unanswered):
        await redis.ping()
    async with line_to(server.port) as other, Redis.from_url(other.url) as quick:
        assert await asyncio.wait_for(quick.ping(), PATIENCE_S)


async def _holds(server: CacheServer, key: str) -> bool:
    return await server.ask("EXISTS", key) == b":1"
