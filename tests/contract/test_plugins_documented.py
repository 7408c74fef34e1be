"""The plugin that docs/plugins.md shows is one: installed from the page, loaded, charged with."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest

from abaxus_core.kernel import plugin_manager
from abaxus_core.kernel.plugin_manager import HttpFactory
from abaxus_core.plugin.payments import ChargeRequest, InvalidRequest, PaymentProvider, Status

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
SETTINGS = {"ACME_ACCOUNT": "ours", "ACME_SECRET_KEY": "sk_hunter2"}
REQUEST = ChargeRequest(
    attempt_id=UUID(int=7),
    amount=Decimal("157.75"),
    currency="USD",
    customer_ref="cus_1",
    payment_method_ref="pm_1",
)
Answer = Callable[[httpx.Request], httpx.Response]
PAID = {"id": "p_1", "status": "paid", "amount": 15775, "currency": "USD"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Write the page's files and metadata where Python finds installed distributions."""
    site = tmp_path_factory.mktemp("site")
    package, info = site / "acme_pay", site / "acme_pay-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    for name in ("__init__.py", "provider.py"):
        (package / name).write_text(file_named(f"acme_pay/{name}"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-pay\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield


def file_named(name: str) -> str:
    found = re.search(rf"`{name}`, whole:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found, name
    return found[1]


def entry_points() -> str:
    found = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    groups = tomllib.loads(found[1])["project"]["entry-points"]
    return "".join(
        f"[{group}]\n" + "".join(f"{name} = {module}\n" for name, module in entries.items())
        for group, entries in groups.items()
    )


def reaching(answer: Answer) -> HttpFactory:
    """A way to open clients whose other end is `answer`; it, too, sees only declared hosts."""

    @asynccontextmanager
    async def open_client(hosts: frozenset[str]) -> AsyncIterator[httpx.AsyncClient]:
        def checked(request: httpx.Request) -> httpx.Response:
            assert request.url.host in hosts
            return answer(request)

        async with httpx.AsyncClient(transport=httpx.MockTransport(checked)) as client:
            yield client

    return open_client


@asynccontextmanager
async def acme(answer: Answer) -> AsyncIterator[PaymentProvider]:
    plugins = plugin_manager.load(["acme"], SETTINGS)
    async with plugin_manager.opened(plugins, http=reaching(answer)) as opened:
        yield opened.payment_providers["acme"]


async def test_it_sends_what_was_prepared_under_the_key(installed: None) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json=PAID)

    async with acme(answer) as provider:
        frozen = provider.prepare(REQUEST)
        outcome = await provider.charge(frozen, "key-1", replay=False)
        looked_up = await provider.fetch("p_1", frozen)

    assert (outcome.status, outcome.echoed_amount) == ("succeeded", Decimal("157.75"))
    assert looked_up == outcome
    assert sent[0].content == frozen.body
    assert sent[0].headers["Idempotency-Key"] == "key-1"
    assert b"hunter2" not in frozen.body
    assert str(sent[1].url) == "https://eu.api.acme.example/v1/payments/p_1"


def raising(error: type[httpx.TransportError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("cut", request=request)

    return answer


def giving(http_status: int, **payment: object) -> Answer:
    return lambda _request: httpx.Response(http_status, json={**PAID, **payment} if payment else {})


@pytest.mark.parametrize(
    ("answer", "first", "repeated"),
    [
        (giving(202, status="processing"), "pending", "pending"),
        (giving(402, status="refused", reason="no_funds"), "declined", "declined"),
        (giving(200, status="never heard of"), "unknown", "unknown"),
        (giving(500), "unknown", "unknown"),
        (giving(401), "rejected", "unknown"),
        (giving(429), "transient", "unknown"),
        (raising(httpx.ConnectError), "transient", "unknown"),
        (raising(httpx.ReadTimeout), "unknown", "unknown"),
    ],
)
async def test_it_says_no_more_than_the_answer_proves(
    installed: None, answer: Answer, first: Status, repeated: Status
) -> None:
    async with acme(answer) as provider:
        frozen = provider.prepare(REQUEST)
        assert (await provider.charge(frozen, "key-1", replay=False)).status == first
        assert (await provider.charge(frozen, "key-1", replay=True)).status == repeated


async def test_it_refuses_a_fraction_of_a_cent(installed: None) -> None:
    async with acme(giving(500)) as provider:
        with pytest.raises(InvalidRequest, match="whole cents"):
            provider.prepare(msgspec.structs.replace(REQUEST, amount=Decimal("0.001")))


def test_the_email_sender_passes_the_checks_as_the_page_runs_them(tmp_path: Path) -> None:
    for name in ("acme_mail/__init__.py", "tests/test_acme_mail.py"):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_text(file_named(name))
    python = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    options = ("--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    done = subprocess.run(
        [*python, *options, "-W", "error", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"2\d passed", done.stdout), done.stdout
