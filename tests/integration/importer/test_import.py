"""`abaxus events import` against a listening API: formats, rejects, resumption, refusals."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from abaxus_core.errors import InvalidInput
from abaxus_core.http import events
from abaxus_core.http.app import build
from abaxus_core.http.server import serve
from abaxus_core.importer import run, sender
from abaxus_core.importer.ledger import Progress
from abaxus_core.importer.sender import Stopped
from abaxus_core.services import api_keys
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import SYSTEM, Context, perform
from tests.support.clock import FakeClock
from tests.support.metering import context_of, fetch, land_all, make_catalogue
from tests.support.ports import free_port
from tests.support.postgres import TestDatabases
from tests.support.waiting import eventually

HEADER = "customer_id,metric_key,value,timestamp,idempotency_key,subscription_id,properties.user\n"


class Api:
    """A listening API: where it is, a key for it, the context behind it."""

    def __init__(self, context: Context, url: str, key: str) -> None:
        self.context = context
        self.url = url
        self.key = key

    async def import_file(
        self, path: Path, report: Callable[[Progress, int], None] = lambda *_: None
    ) -> Progress:
        ledger = await run.import_file(path, url=self.url, key=self.key, report=report)
        return ledger.progress

    async def stored(self) -> list[str]:
        await land_all(self.context)
        rows = await fetch(self.context.database, "SELECT idempotency_key FROM events ORDER BY 1")
        return [str(key) for (key,) in rows]


@pytest.fixture
async def api(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Api]:
    async with listening(databases, clock) as api:
        yield api


def listening(databases: TestDatabases, clock: FakeClock, **settings: str):
    """An API over HTTP, on a catalogue to meter against."""
    return _Listening(databases, context_of(databases.live, clock, **settings))


class _Listening:
    def __init__(self, databases: TestDatabases, context: Context) -> None:
        self._databases = databases
        self._context = context
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Api:
        await make_catalogue(self._databases.live)
        context = self._context
        application = build(
            {"live": context, "test": context},
            context.settings,
            Telemetry(),
            resources=events.ENDPOINTS,
        )
        port = free_port()
        self._server = asyncio.create_task(
            serve(application, host="127.0.0.1", port=port, stop=self._stop)
        )
        issued = await perform(
            context,
            SYSTEM,
            lambda work: api_keys.create(
                work,
                mode="live",
                name="import",
                scopes=("ingest",),
                master_key=context.settings.api_master_key,
            ),
        )
        return Api(context, f"http://127.0.0.1:{port}", issued.secret.reveal())

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._server


def line(key: str, **fields: object) -> str:
    event = {
        "customer_id": "acme",
        "metric_key": "total",
        "value": "1",
        "timestamp": "2026-05-01T12:00:00Z",
        "idempotency_key": key,
    }
    return json.dumps(event | fields) + "\n"


def rejects(path: Path) -> list[tuple[int, str]]:
    lines = path.with_name(path.name + ".rejects.ndjson").read_text(encoding="utf-8").splitlines()
    told = [json.loads(each) for each in lines]
    return [(each["record"], each["error"]["code"]) for each in told]


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("name", ["e.ndjson", "e.jsonl", "e.ndjson.gz"])
async def test_ndjson(api: Api, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = "".join(line(f"k{n:04}") for n in range(2_500)).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    progress = await api.import_file(path)
    assert (progress.accepted, progress.duplicates, progress.rejected) == (2_500, 0, 0)
    assert await api.stored() == [f"k{n:04}" for n in range(2_500)]
    assert left_in(tmp_path) == [name]


async def test_csv_with_properties(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(
        HEADER
        + 'acme,users,1,2026-05-01T12:00:00Z,a,,"ann, of ""X"""\n'
        + "acme,total,0.0000000001,2026-05-01T12:00:00Z,b,,\n",
        encoding="utf-8",
    )
    assert (await api.import_file(path)).accepted == 2
    await land_all(api.context)
    rows = await fetch(
        api.context.database, "SELECT value::text, properties->>'user' FROM events ORDER BY 1"
    )
    assert rows == [("0.0000000001", None), ("1.0000000000", 'ann, of "X"')]


async def test_rejects_are_written_with_their_reason_and_spoil_nothing(
    api: Api, tmp_path: Path
) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(
        line("a")
        + line("b", customer_id="nobody")
        + "no json\n"
        + "\n"
        + "[1]\n"
        + line("c", value="x")
        + line("a")
        + line("d"),
        encoding="utf-8",
    )
    progress = await api.import_file(path)
    # A faulty line ends a request, so that "a" was asked for twice before it landed.
    assert (progress.accepted, progress.duplicates, progress.rejected) == (3, 0, 4)
    assert rejects(path) == [
        (2, "CUSTOMER_NOT_FOUND"),
        (3, "MALFORMED_JSON"),
        (5, "MALFORMED_JSON"),
        (6, "VALIDATION_FAILED"),
    ]
    assert await api.stored() == ["a", "d"]


async def test_a_second_import_changes_nothing(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(f"k{n}") for n in range(1_500)), encoding="utf-8")
    await api.import_file(path)
    before = await api.stored()
    progress = await api.import_file(path)
    assert (progress.accepted, progress.duplicates) == (0, 1_500)
    assert await api.stored() == before


async def test_an_import_goes_on_where_it_was_cut_off(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH_MAX", 10)
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(f"k{n:03}") for n in range(200)), encoding="utf-8")

    def cut(progress: Progress, position: int) -> None:
        if progress.total == 50:
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        await api.import_file(path, cut)
    seen: list[int] = []
    progress = await api.import_file(path, lambda now, _: seen.append(now.total))
    assert seen[0] == 60
    assert progress.total == 200
    assert len(await api.stored()) == 200


async def test_a_changed_file_is_read_from_its_start(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a"), encoding="utf-8")
    stale = Progress(size=1, modified_ns=1, url=api.url, last_number=99)
    path.with_name("e.ndjson.progress").write_text(
        json.dumps({name: getattr(stale, name) for name in stale.__struct_fields__})
    )
    assert (await api.import_file(path)).accepted == 1


async def test_a_full_backlog_is_waited_for(
    databases: TestDatabases, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH_MAX", 10)
    monkeypatch.setattr(sender, "RETRY_DELAY_MAX_MS", 20)
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(f"k{n:03}") for n in range(200)), encoding="utf-8")
    async with listening(databases, clock, INGEST_BACKLOG_MAX="3") as api:
        importing = asyncio.create_task(api.import_file(path))

        async def done() -> bool:
            await land_all(api.context)
            return importing.done()

        await eventually(done)
        assert (await importing).accepted == 200


async def test_an_api_that_is_away_is_waited_for_and_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "RETRY_DELAY_MAX_MS", 5)
    monkeypatch.setattr(sender, "PATIENCE_MS", 20)
    path = tmp_path / "e.ndjson"
    path.write_text(line("a"), encoding="utf-8")
    away = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Stopped, match="4 attempts"):
        await run.import_file(path, url=away, key="k", report=lambda *_: None)


async def test_a_wrong_key_stops_at_once(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a"), encoding="utf-8")
    with pytest.raises(Stopped, match="401 UNAUTHENTICATED"):
        await run.import_file(path, url=api.url, key="abx_live_wrong", report=lambda *_: None)


async def test_a_batch_too_large_for_the_api_is_halved(
    databases: TestDatabases, clock: FakeClock, tmp_path: Path
) -> None:
    path = tmp_path / "e.ndjson"
    lines = [line(f"k{n:03}", properties={"p": "x" * 500}) for n in range(100)]
    lines[77] = line("bad", value="x")
    path.write_text("".join(lines), encoding="utf-8")
    async with listening(databases, clock, API_MAX_BODY_SIZE="20kb") as api:
        progress = await api.import_file(path)
    assert (progress.accepted, progress.rejected) == (99, 1)
    assert rejects(path) == [(78, "VALIDATION_FAILED")]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("e.txt", b"", "must end in"),
        ("e.csv", b"customer_id,value\n", "lacks metric_key, timestamp, idempotency_key"),
        ("e.csv", HEADER.replace("properties.user", "user").encode(), "no field 'user'"),
        ("e.ndjson.gz", b"not gzip", "cannot be read"),
        ("e.csv", HEADER.encode() + b"\xff\xfe", "cannot be read"),
    ],
)
async def test_a_file_that_is_not_what_it_says_is_refused(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=why):
        await run.import_file(path, url="http://127.0.0.1:1", key="k", report=lambda *_: None)


async def test_the_command_killed_and_started_again(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text("".join(line(f"k{n:05}") for n in range(20_000)), encoding="utf-8")
    progress = path.with_name("e.ndjson.progress")
    killed = start_command(api, path)

    async def begun() -> bool:
        return progress.exists()

    await eventually(begun)
    killed.send_signal(signal.SIGKILL)
    await asyncio.to_thread(killed.communicate)
    second = start_command(api, path)
    told, _ = await asyncio.to_thread(second.communicate)
    assert second.returncode == 0
    assert told.startswith("20,000 events: ")
    assert len(await api.stored()) == 20_000


async def test_exit_codes(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a") + line("b", value="x"), encoding="utf-8")
    ended = start_command(api, path)
    told, _ = await asyncio.to_thread(ended.communicate)
    assert (ended.returncode, told) == (
        3,
        "2 events: 1 accepted, 0 known already, 1 rejected\n",
    )
    api.key = "abx_live_wrong"
    ended = start_command(api, path)
    await asyncio.to_thread(ended.communicate)
    assert ended.returncode == 1


def start_command(api: Api, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from abaxus_core.importer.command import events; events()",
            "import",
            str(path),
        ],
        env={**os.environ, "ABAXUS_URL": api.url, "ABAXUS_API_KEY": api.key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
