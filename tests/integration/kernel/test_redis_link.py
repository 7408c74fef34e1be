"""The link to Redis: one round trip for all that wait, and nobody waits for who is away."""

import asyncio
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from abaxus_core.kernel import redis_link
from abaxus_core.kernel.config import RedisUrl
from abaxus_core.kernel.redis_commands import RedisAway, Refused
from abaxus_core.kernel.redis_link import RedisLink, Told, dialler
from abaxus_core.kernel.redis_pipeline import BATCH_MAX
from abaxus_core.kernel.redis_wire import RedisWire
from tests.support.cache_servers import KINDS, CacheServer, cache_server, line_to
from tests.support.tls_front import authority, tls_front
from tests.support.waiting import WAIT_MAX_S, eventually

PATIENT_MS = 5_000
HASTY_MS = 20
BUSY_MS = 200


@dataclass
class Linked:
    link: RedisLink
    changes: list[bool] = field(default_factory=list)

    async def is_up(self) -> bool:
        return self.link.up

    async def is_down(self) -> bool:
        return not self.link.up

    async def asked(self, *command: str | bytes | int) -> object:
        return (await self.link.ask(*command)).reply


@asynccontextmanager
async def linked(url: str, *, timeout_ms: int = PATIENT_MS) -> AsyncIterator[Linked]:
    changes: list[bool] = []
    link = RedisLink(
        dialler(RedisUrl(url)), name="test", timeout_ms=timeout_ms, on_change=changes.append
    )
    await link.open()
    try:
        yield Linked(link, changes)
    finally:
        await link.close()


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[CacheServer]:
    async with cache_server(request.param) as server:
        yield server


async def test_replies_are_told_with_the_life_of_the_server(server: CacheServer) -> None:
    async with linked(server.url) as one, linked(server.url) as other:
        first, second = await one.link.ask("PING"), await other.link.ask("ECHO", "x")
        assert (first.reply, second.reply) == (b"PONG", b"x")
        assert len(first.run_id) == 40
        assert first.run_id == second.run_id


async def test_what_waits_together_is_one_round_trip_of_one_mget(server: CacheServer) -> None:
    async with linked(server.url) as up:
        commands = [
            ("SET", "a", "1"),
            ("GET", "a"),
            ("SET", "b", "2"),
            ("GET", "b"),
            ("ECHO", "c"),
            ("GET", "none"),
        ]
        assert await up.asked("CONFIG", "RESETSTAT") == b"OK"
        told = await asyncio.gather(*(up.asked(*command) for command in commands))
        again = await asyncio.gather(*(up.asked("GET", key) for key in ("a", "none", "b")))
        assert told == [b"OK", None, b"OK", None, b"c", None]
        assert again == [b"1", None, b"2"]
        calls = str(await up.asked("INFO", "commandstats"))
        assert "cmdstat_mget:calls=2," in calls
        assert "cmdstat_get:" not in calls


async def test_a_crowd_is_told_each_its_own(server: CacheServer) -> None:
    async with linked(server.url) as up:
        keys = [f"key {n}" for n in range(3 * BATCH_MAX)]
        assert await up.asked("MSET", *(word for key in keys for word in (key, key * 1_000)))

        async def each(key: str) -> None:
            assert await up.asked("ECHO", key) == key.encode()
            assert await up.asked("GET", key) == key.encode() * 1_000

        await asyncio.gather(*map(each, keys))
        assert up.changes == [True]


async def test_a_refusal_is_the_askers_own(server: CacheServer) -> None:
    async with linked(server.url) as up:
        assert await up.asked("SET", "text", "x") == b"OK"
        refused, found = await asyncio.gather(up.asked("INCR", "text"), up.asked("GET", "text"))
        assert isinstance(refused, Refused)
        assert found == b"x"
        assert up.changes == [True]


async def test_a_start_without_redis_waits_for_nothing(server: CacheServer) -> None:
    await server.kill()
    async with linked(server.url) as up:
        assert not up.link.up
        with pytest.raises(RedisAway):
            await up.link.ask("PING")
        await server.start()
        await eventually(up.is_up)
        assert await up.asked("PING") == b"PONG"
        assert up.changes == [False, True]


async def test_a_restarted_server_is_another(server: CacheServer) -> None:
    async with linked(server.url) as up:
        before = await up.link.ask("PING")
        await server.kill()
        await eventually(up.is_down)
        with pytest.raises(RedisAway):
            await up.link.ask("PING")
        await server.start()
        await eventually(up.is_up)
        after = await up.link.ask("PING")
        assert before.run_id != after.run_id
        assert up.changes == [True, False, True]


async def test_a_paused_server_opens_the_breaker_and_closes_it_again(server: CacheServer) -> None:
    async with linked(server.url, timeout_ms=HASTY_MS) as up:
        server.pause()
        asked = await asyncio.gather(
            *(up.link.ask("GET", str(n)) for n in range(50)), return_exceptions=True
        )
        assert {type(error) for error in asked} == {RedisAway}
        assert not up.link.up
        server.resume()
        await eventually(up.is_up)
        assert await up.asked("PING") == b"PONG"
        assert up.changes == [True, False, True]


async def test_a_deaf_server_takes_along_who_waits_for_its_replies(server: CacheServer) -> None:
    async with line_to(server.port) as line, linked(line.url, timeout_ms=HASTY_MS) as up:
        line.deafen()
        asked = []
        for turn in range(10):
            asked.append(asyncio.create_task(up.link.ask("GET", str(turn))))
            await asyncio.sleep(0)
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(error) for error in told} == {RedisAway}
        assert up.changes == [True, False]
        line.mend()
        await eventually(up.is_up)


async def test_a_cut_line_is_told_to_whoever_waits(server: CacheServer) -> None:
    async with line_to(server.port) as line, linked(line.url) as up:
        line.deafen()
        asked = asyncio.create_task(up.link.ask("PING"))
        await asyncio.sleep(0)
        line.cut()
        with pytest.raises(RedisAway):
            await asked
        line.mend()
        await eventually(up.is_up)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-DENIED\r\n"])
async def test_what_is_no_server_of_ours_is_away(said: bytes) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as stranger:
        port = stranger.sockets[0].getsockname()[1]
        async with linked(f"redis://127.0.0.1:{port}/0") as refused:
            assert not refused.link.up
            assert refused.changes == [False]


@pytest.mark.parametrize(
    "url",
    [
        "unix:///no/such/socket",
        "redis://a..b:6379/0",
        "rediss://localhost:1/0?ssl_ca_certs=/no/such/file",
        "rediss://localhost:1/0?ssl_keyfile=/no/such/file",
    ],
)
async def test_a_url_that_leads_nowhere_is_away(url: str) -> None:
    async with linked(url) as nowhere:
        assert nowhere.changes == [False]


async def test_a_server_that_takes_connections_and_says_nothing_is_not_waited_for(
    server: CacheServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_link, "CONNECT_TIMEOUT_MS", HASTY_MS)
    server.pause()
    async with linked(server.url) as up:
        assert up.changes == [False]
        monkeypatch.undo()
        server.resume()
        await eventually(up.is_up)


async def test_a_silent_cut_is_noticed_by_nobodys_question(server: CacheServer) -> None:
    async with line_to(server.port) as line, linked(line.url, timeout_ms=HASTY_MS) as up:
        line.part()
        await eventually(up.is_down)
        line.mend()
        await eventually(up.is_up)


async def test_a_server_that_this_process_had_no_time_for_is_not_blamed(
    server: CacheServer,
) -> None:
    async with linked(server.url, timeout_ms=BUSY_MS // 2) as up:
        server.pause()
        asked = asyncio.create_task(up.link.ask("PING"))
        for _ in range(5):
            await asyncio.sleep(0)
        server.resume()
        be_busy_until_it_has_answered(up.link)
        assert (await asked).reply == b"PONG"


def be_busy_until_it_has_answered(link: RedisLink) -> None:
    """And for longer than any timeout; the loop does not run meanwhile."""
    assert link._pipeline is not None
    assert isinstance(link._pipeline._wire, RedisWire)
    assert link._pipeline._wire._transport is not None
    socket = link._pipeline._wire._transport.get_extra_info("socket")
    readable, _, _ = select.select([socket.fileno()], [], [], WAIT_MAX_S)
    assert readable
    time.sleep(BUSY_MS / 1000)


async def test_a_replica_is_not_asked(server: CacheServer) -> None:
    async with linked(server.url) as up:
        await up.asked("REPLICAOF", "127.0.0.1", "1")
        async with linked(server.url) as other:
            assert not other.link.up
        with pytest.raises(RedisAway):
            await up.link.ask("SET", "a", "b")
        assert not up.link.up


async def test_a_password_is_needed_where_there_is_one(server: CacheServer) -> None:
    async with linked(server.url) as up:
        assert await up.asked("CONFIG", "SET", "requirepass", "hunter2") == b"OK"
    async with linked(server.url) as refused:
        assert not refused.link.up
    for user in ("", "default"):
        with_password = server.url.replace("//", f"//{user}:hunter2@")
        async with linked(with_password) as welcome:
            assert await welcome.asked("PING") == b"PONG"


async def test_a_connection_says_whose_it_is(server: CacheServer) -> None:
    async with linked(server.url) as up:
        assert await up.asked("CLIENT", "GETNAME") == b"abaxus"


async def test_a_cancelled_asker_leaves_the_others_their_replies(server: CacheServer) -> None:
    async with linked(server.url) as up:
        gone = asyncio.create_task(up.link.ask("ECHO", "gone"))
        stays = asyncio.create_task(up.link.ask("ECHO", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).reply == b"stays"
        assert await up.asked("ECHO", "next") == b"next"


async def test_tls_and_whom_it_trusts(server: CacheServer, tmp_path: Path) -> None:
    ca, ca_file = authority(tmp_path)
    async with tls_front(server.port, ["localhost"], ca) as front:
        url = f"rediss://localhost:{front.port}/0"
        async with linked(f"{url}?ssl_ca_certs={ca_file}") as up:
            assert await up.asked("PING") == b"PONG"
        async with linked(url) as distrustful:
            assert not distrustful.link.up


async def test_a_unix_socket(tmp_path: Path) -> None:
    async with cache_server("valkey", "--unixsocket", str(tmp_path / "s")) as server:
        async with linked(f"unix://{tmp_path / 's'}?db=1") as up:
            assert await up.link.ask("SET", "k", "v")
        async with linked(server.url + "?db=1") as up:
            told = await up.link.ask("GET", "k")
            assert isinstance(told, Told)
            assert told.reply == b"v"
