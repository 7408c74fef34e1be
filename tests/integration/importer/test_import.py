"""`abaxus events import` against a listening API: formats, rejects, resumption, refusals."""

import asyncio
import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import zstandard

from abaxus_core.errors import InvalidInput
from abaxus_core.http import events
from abaxus_core.http.app import build
from abaxus_core.importer import run, sender
from abaxus_core.importer.ledger import Begun, NotKept, Order, Progress
from abaxus_core.importer.mapping import parse_mapping
from abaxus_core.importer.sender import Stopped
from abaxus_core.importer.source import Reading
from abaxus_core.services.telemetry import Telemetry
from abaxus_core.services.work import Context
from tests.support.api import new_key
from tests.support.clock import FakeClock
from tests.support.metering import context_of, fetch, land_all, make_catalogue
from tests.support.ports import free_port
from tests.support.postgres import TestDatabases
from tests.support.servers import served
from tests.support.waiting import eventually

HEADER = "customer_id,metric_key,value,timestamp,idempotency_key,subscription_id,properties.user\n"
DOCS = Path(__file__).parents[3] / "docs" / "importing.md"
READ_AS_NDJSON = Reading(kind="ndjson")


class Heard:
    """A meter that hands on the progress and keeps why there was a wait."""

    def __init__(self, heard: Callable[[Progress], None] = lambda _: None) -> None:
        self._heard = heard
        self.whys: list[str] = []

    def moved(self, progress: Progress, position: int) -> None:
        self._heard(progress)

    def waits(self, why: str) -> None:
        self.whys.append(why)


class Api:
    """A listening API: where it is, a key for it, the context behind it."""

    def __init__(self, context: Context, url: str, key: str) -> None:
        self.context = context
        self.url = url
        self.key = key

    def order(self, path: Path, **rest: object) -> Order:
        return Order(path=path, url=self.url, key=self.key, **rest)

    async def import_file(
        self, path: Path, heard: Callable[[Progress], None] = lambda _: None, **rest: object
    ) -> Progress:
        ledger = await run.import_events(self.order(path, **rest), Heard(heard))
        return ledger.progress

    async def stored(self) -> list[str]:
        await land_all(self.context)
        rows = await fetch(self.context.database, "SELECT idempotency_key FROM events ORDER BY 1")
        return [str(key) for (key,) in rows]


@pytest.fixture
async def api(databases: TestDatabases, clock: FakeClock) -> AsyncIterator[Api]:
    async with listening(databases, clock) as api:
        yield api


@asynccontextmanager
async def listening(
    databases: TestDatabases, clock: FakeClock, **settings: str
) -> AsyncIterator[Api]:
    """An API over HTTP, on a catalogue to meter against."""
    context = context_of(databases.live, clock, **settings)
    await make_catalogue(databases.live)
    application = build(
        {"live": context, "test": context},
        context.settings,
        Telemetry(),
        resources=events.ENDPOINTS,
    )
    async with served(application) as up:
        yield Api(context, up.url, await new_key(context, "ingest"))


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


def begun_with(api: Api, path: Path) -> Begun:
    found = path.stat()
    return Begun(
        size=found.st_size,
        modified_ns=found.st_mtime_ns,
        url=api.url,
        mode="live",
        reading=Reading(),
    )


def note(path: Path, progress: Progress) -> None:
    path.with_name(path.name + ".progress").write_bytes(msgspec.json.encode(progress))


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def as_is(content: bytes) -> bytes:
    return content


def in_zstd_frames(content: bytes) -> bytes:
    middle = len(content) // 2
    return zstandard.compress(content[:middle]) + zstandard.compress(content[middle:])


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("e.ndjson", as_is),
        ("e.jsonl", as_is),
        ("e.ndjson.gz", gzip.compress),
        ("e.ndjson.zst", in_zstd_frames),
        ("told-by-its-first-bytes.ndjson", zstandard.compress),
    ],
)
async def test_ndjson(
    api: Api, tmp_path: Path, name: str, stored: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    path.write_bytes(stored("".join(line(f"k{n:04}") for n in range(2_500)).encode()))
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
    assert (progress.accepted, progress.duplicates, progress.rejected) == (2, 1, 4)
    assert progress.reasons == {
        "CUSTOMER_NOT_FOUND": 1,
        "MALFORMED_JSON": 2,
        "VALIDATION_FAILED": 1,
    }
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

    def cut(progress: Progress) -> None:
        if progress.total == 50:
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        await api.import_file(path, cut)
    seen: list[int] = []
    progress = await api.import_file(path, lambda now: seen.append(now.total))
    assert seen[0] == 60
    assert progress.total == 200
    assert len(await api.stored()) == 200


@pytest.mark.parametrize(
    "other",
    [
        {"size": 1},
        {"modified_ns": 1},
        {"url": "http://127.0.0.1:1"},
        {"mode": "test"},
        {"reading": Reading(kind="csv")},
    ],
)
async def test_what_was_noted_of_another_import_does_not_count(
    api: Api, tmp_path: Path, other: dict[str, object]
) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a"), encoding="utf-8")
    begun = begun_with(api, path)
    note(path, Progress(begun=msgspec.structs.replace(begun, **other), last_number=1))
    assert (await api.import_file(path)).accepted == 1


async def test_records_are_passed_only_where_they_are_those_that_were_settled(
    api: Api, tmp_path: Path
) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a") + line("b"), encoding="utf-8")
    begun = begun_with(api, path)
    note(path, Progress(begun=begun, last_number=1, checksum=1))
    with pytest.raises(InvalidInput, match="first 1 records are not those"):
        await api.import_file(path)
    checksum = zlib.crc32(line("a").strip().encode())
    note(path, Progress(begun=begun, last_number=1, checksum=checksum))
    assert (await api.import_file(path)).accepted == 1
    assert await api.stored() == ["b"]


async def test_rejects_behind_the_last_note_are_not_written_twice(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a", value="x") + line("b", value="x"), encoding="utf-8")
    await api.import_file(path)
    written = path.with_name("e.ndjson.rejects.ndjson")
    first = written.read_bytes().index(b"\n") + 1
    note(
        path,
        Progress(
            begun=begun_with(api, path),
            last_number=1,
            checksum=zlib.crc32(line("a", value="x").strip().encode()),
            rejected=1,
            rejects_size=first,
        ),
    )
    assert (await api.import_file(path)).rejected == 2
    assert rejects(path) == [(1, "VALIDATION_FAILED"), (2, "VALIDATION_FAILED")]


async def test_notes_overwrite_nothing_else(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a"), encoding="utf-8")
    letter = tmp_path / "letter"
    letter.write_text("Dear customer", encoding="utf-8")
    with pytest.raises(InvalidInput, match="is no note of an import"):
        await api.import_file(path, progress=letter)
    with pytest.raises(InvalidInput, match="must be different files"):
        await api.import_file(path, rejects=tmp_path / "." / "e.ndjson")
    with pytest.raises(NotKept, match="--progress"):
        await api.import_file(path, progress=tmp_path / "missing" / "note")
    assert letter.read_text(encoding="utf-8") == "Dear customer"
    assert path.read_text(encoding="utf-8") == line("a")


async def test_a_csv_with_columns_of_its_own(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(
        "account,amount,value,timestamp,ref,area_code,clerk\n"
        "acme,2.50,9,2026-05-01T12:00:00Z,a,north,ann\n"
        ",2.50,9,2026-05-01T12:00:00Z,b,north,ann\n"
        "acme,2.50\n",
        encoding="utf-8",
    )
    mapping = parse_mapping(
        columns=["customer_id=account", "value=amount", "idempotency_key=ref"],
        constants=["metric_key=total", "properties.source=till"],
        properties=["region=area_code", "clerk"],
    )
    progress = await api.import_file(path, reading=Reading(mapping=mapping))
    assert (progress.accepted, progress.rejected) == (1, 2)
    assert rejects(path) == [(2, "VALIDATION_FAILED"), (3, "VALIDATION_FAILED")]
    await land_all(api.context)
    rows = await fetch(api.context.database, "SELECT value::text, properties FROM events")
    assert [(value, json.loads(properties)) for value, properties in rows] == [
        ("2.5000000000", {"region": "north", "clerk": "ann", "source": "till"})
    ]


async def test_ndjson_with_members_of_its_own(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    member = {"account": "acme", "area": 7, "properties": {"kept": 1}, "left": "aside"}
    path.write_text(
        line("a", value=0.1, customer_id="nobody", **member) + line("b"), encoding="utf-8"
    )
    mapping = parse_mapping(
        columns=["customer_id=account"], constants=[], properties=["region=area"]
    )
    progress = await api.import_file(path, reading=Reading(mapping=mapping))
    assert (progress.accepted, progress.rejected) == (1, 1)
    (reject,) = path.with_name("e.ndjson.rejects.ndjson").read_text().splitlines()
    assert json.loads(reject)["error"] == {
        "code": "VALIDATION_FAILED",
        "message": "has no member 'account' (--column customer_id=account)",
        "field": "customer_id",
    }
    await land_all(api.context)
    rows = await fetch(api.context.database, "SELECT value::text, properties FROM events")
    assert [(value, json.loads(properties)) for value, properties in rows] == [
        ("0.1000000000", {"kept": 1, "region": 7})
    ]


async def test_a_line_that_spoils_a_request_is_found_and_rejected(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    lines = [line(f"k{n:02}") for n in range(20)]
    lines[7] = line("bad", value="x").replace('"x"', "1e99999999999999999999")
    path.write_text("".join(lines), encoding="utf-8")
    path.write_bytes(path.read_bytes() + b'{"customer_id": "\xff"}\n')
    progress = await api.import_file(path)
    assert (progress.accepted, progress.rejected) == (19, 2)
    assert rejects(path) == [(8, "MALFORMED_JSON"), (21, "MALFORMED_JSON")]


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
        await run.import_events(Order(path=path, url=away, key="k"), Heard())


async def test_a_wrong_key_stops_at_once(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a"), encoding="utf-8")
    with pytest.raises(Stopped, match="401 UNAUTHENTICATED"):
        await run.import_events(Order(path=path, url=api.url, key="abx_live_wrong"), Heard())


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
        ("e.ndjson.gz", gzip.compress(b"{}\n" * 9, mtime=0)[:-9], "cannot be read"),
        ("e.ndjson.gz", gzip.compress(b"{}\n" * 9, mtime=0)[:12] + b"\xff" * 20, "cannot be read"),
        ("e.ndjson.zst", b"not zstd", "cannot be read"),
        ("e.ndjson.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 20, "cannot be read"),
        ("e.ndjson.zst", zstandard.compress(b"{}\n" * 9)[:-1], "ends amid a zstd frame"),
        ("e.csv", HEADER.encode() + b"\xff\xfe", "cannot be read"),
    ],
)
async def test_a_file_that_is_not_what_it_says_is_refused(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=why):
        await run.import_events(Order(path=path, url="http://127.0.0.1:1", key="k"), Heard())


async def test_the_command_killed_and_started_again(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson.zst"
    content = "".join(line(f"k{n:05}") for n in range(20_000)).encode()
    path.write_bytes(zstandard.compress(content))
    killed = start_command(api, str(path))
    await eventually(exists, path.with_name("e.ndjson.zst.progress"))
    killed.send_signal(signal.SIGKILL)
    await asyncio.to_thread(killed.communicate)
    told, _, code = await run_command(api, str(path))
    assert code == 0
    assert told.startswith("20,000 events: ")
    assert len(await api.stored()) == 20_000


async def test_standard_input_killed_and_sent_again(api: Api, tmp_path: Path) -> None:
    content = "".join(line(f"k{n:05}") for n in range(20_000)).encode()
    flags = ("-", "--format", "ndjson", "--progress", "note", "--rejects", "rejects")
    killed = start_command(api, *flags, cwd=tmp_path)
    feeding = asyncio.create_task(asyncio.to_thread(feed, killed, content[: len(content) // 2]))
    await eventually(exists, tmp_path / "note")
    killed.send_signal(signal.SIGKILL)
    await feeding
    killed.communicate()
    settled = msgspec.json.decode((tmp_path / "note").read_bytes(), type=Progress).total
    assert 0 < settled <= 10_000
    told, _, code = await run_command(api, *flags, cwd=tmp_path, sent=content)
    assert (code, told[:15]) == (0, "20,000 events: ")
    assert len(await api.stored()) == 20_000
    assert left_in(tmp_path) == []


async def test_standard_input_again_without_a_note_is_known(api: Api, tmp_path: Path) -> None:
    content = gzip.compress((line("a") + line("b", value="x")).encode())
    for accepted, known in ((1, 0), (0, 1)):
        told, why, code = await run_command(
            api, "-", "--format", "ndjson", cwd=tmp_path, sent=content
        )
        assert (code, told) == (
            3,
            f"2 events: {accepted} accepted, {known} known already, 1 rejected\n",
        )
        assert "1 VALIDATION_FAILED; each with its reason in stdin.rejects.ndjson" in why
        await api.stored()
    assert rejects(tmp_path / "stdin") == [(2, "VALIDATION_FAILED")]


async def test_another_standard_input_is_not_passed_over(api: Api, tmp_path: Path) -> None:
    flags = ("-", "--format", "ndjson", "--progress", "note")
    first = Begun(size=None, modified_ns=None, url=api.url, mode="live", reading=READ_AS_NDJSON)
    note = Progress(begun=first, last_number=1, checksum=zlib.crc32(line("a").strip().encode()))
    (tmp_path / "note").write_bytes(msgspec.json.encode(note))
    _, why, code = await run_command(api, *flags, cwd=tmp_path, sent=line("b").encode())
    assert (code, "are not those that note tells of" in why) == (1, True)
    _, _, code = await run_command(api, *flags, cwd=tmp_path, sent=(line("a") + line("b")).encode())
    assert (code, await api.stored()) == (0, ["b"])


async def test_exit_codes(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "e.ndjson"
    path.write_text(line("a") + line("b", value="x"), encoding="utf-8")
    told, _, code = await run_command(api, str(path))
    assert (code, told) == (3, "2 events: 1 accepted, 0 known already, 1 rejected\n")
    api.key = "abx_live_wrong"
    assert (await run_command(api, str(path)))[2] == 1


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("-",), "standard input needs --format"),
        (("--column", "customer=account"), "--column customer=account: there is no field"),
        (("--constant", "value"), "--constant value: must have the form"),
    ],
)
async def test_a_wrong_command_line(tmp_path: Path, flags: tuple[str, ...], why: str) -> None:
    path = tmp_path / "e.csv"
    path.write_text(HEADER, encoding="utf-8")
    nowhere = Api(None, "http://127.0.0.1:1", "k")
    _, told, code = await run_command(nowhere, *(flags if "-" in flags else (str(path), *flags)))
    assert (code, why in " ".join(told.split())) == (2, True)


async def test_a_dry_run_shows_what_would_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("account,left\n" + "acme,x\n" * 4 + "acme\n", encoding="utf-8")
    constants = ("metric_key=total", "value=1", "timestamp=t", "idempotency_key=k")
    given = [f"--constant={each}" for each in constants]
    nowhere = Api(None, "http://127.0.0.1:1", "")
    told, why, code = await run_command(
        nowhere, str(path), "--column=customer_id=account", "--dry-run", *given
    )
    assert code == 3
    assert [json.loads(each)["customer_id"] for each in told.splitlines()] == ["acme"] * 3
    assert why.splitlines() == [
        "record 5 has 1 of 2 columns",
        "Columns left aside: left",
        "5 records, 1 of them not worth sending; nothing was sent",
    ]
    assert left_in(tmp_path) == ["e.csv"]


async def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    (command,) = [each for each in text.split("```") if "calls.csv.zst" in each]
    calls = b"account,at,seconds,ref,area_code\nacme,2026-05-01T12:00:00Z,61,call-1,0711\n"
    (tmp_path / "calls.csv.zst").write_bytes(zstandard.compress(calls))
    arguments = shlex.split(command.replace("\\\n", " "))
    assert arguments[:3] == ["abaxus", "events", "import"]
    told, _, code = await run_command(
        Api(None, "http://127.0.0.1:1", ""), *arguments[3:], cwd=tmp_path
    )
    assert (code, json.loads(told)) == (
        0,
        {
            "customer_id": "acme",
            "timestamp": "2026-05-01T12:00:00Z",
            "value": "61",
            "idempotency_key": "call-1",
            "metric_key": "call_seconds",
            "properties": {"region": "0711"},
        },
    )


async def exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


def feed(command: subprocess.Popen[bytes], content: bytes) -> None:
    """Write to a command that may be killed meanwhile; leave its standard input open."""
    with suppress(BrokenPipeError):
        command.stdin.write(content)
        command.stdin.flush()


async def run_command(
    api: Api, *arguments: str, cwd: Path | None = None, sent: bytes = b""
) -> tuple[str, str, int]:
    """Return what it wrote to standard output and standard error, and its exit code."""
    command = start_command(api, *arguments, cwd=cwd)
    told, why = await asyncio.to_thread(command.communicate, sent)
    return told.decode(), why.decode(), command.returncode


def start_command(api: Api, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from abaxus_core.importer.command import events; events()",
            "import",
            *arguments,
        ],
        env={**os.environ, "ABAXUS_URL": api.url, "ABAXUS_API_KEY": api.key},
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
