"""A stranger's plugin (examples/abaxus-mollie): built, installed beside the wheel in an environment
of its own, enabled by configuration alone, it charges invoices through the real processes.

Mollie is a fake that speaks TLS as api.mollie.com; that the name leads there is the environment's
doing (tests/support/child.py), as /etc/hosts would do it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import child, environments
from tests.support.environments import ROOT, run
from tests.support.mollie_fake import MollieFake
from tests.support.ports import free_port
from tests.support.postgres import Cluster
from tests.support.tls_front import Front, authority, tls_front
from tests.support.waiting import eventually

PACKAGE = ROOT / "examples" / "abaxus-mollie"
KEY = "test_dHar4XY7LxsDOtmnkVtjNVWXLSlXsM"
PROFILE = "pfl_Stranger1"
MASTER_KEY = "QuaXmaster" * 4
CONFIGURED = {
    "PLUGINS": "mollie",
    "PAYMENT_PROVIDER": "mollie",
    "MOLLIE_API_KEY": KEY,
    "MOLLIE_PROFILE_ID": PROFILE,
}
PLAN: Mapping[str, object] = {
    "id": "base",
    "name": "Base",
    "currency": "eur",
    "billing_period": "monthly",
    "charges": [{"pricing_model": "flat_fee", "amount": "157.75", "description": "Base fee"}],
}


@dataclass(frozen=True)
class World:
    """ABAXUS as an operator runs it, Mollie, and what went over the wire to it."""

    client: httpx.AsyncClient
    mollie: MollieFake
    front: Front
    folder: Path

    async def post(self, path: str, status: int, body: object = None) -> dict[str, Any]:
        answer = await self.client.post(f"/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        said: dict[str, Any] = answer.json()
        return said

    async def invoice(self, customer_id: str, mandate: str) -> str:
        """The id of a new invoice of a new customer."""
        method = {"provider_customer_id": "cst_Payer1", "provider_payment_method": mandate}
        customer = {"id": customer_id, "name": "Acme", "payment_method": method}
        subscription = {"customer_id": customer_id, "plan_id": "base", "start_date": "2026-04-01"}
        await self.post("/customers", 201, customer)
        await self.post("/subscriptions", 201, subscription)
        asked = {"customer_id": customer_id, "cutoff_date": "2026-04-30"}
        return str((await self.post("/invoices", 201, asked))["id"])

    async def is_paid(self, invoice_id: str) -> bool:
        invoice = (await self.client.get(f"/v1/invoices/{invoice_id}")).json()
        return bool(invoice["status"] == "paid")


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    plugin = environments.build(PACKAGE, "wheel", folder / "dist")
    return environments.make(folder, wheel, plugin)


def abaxus(environment: Path, environ: dict[str, str], *arguments: str) -> str:
    return run(environment / "bin" / "abaxus", *arguments, cwd=environment, environ=environ)


def test_its_own_tests_pass_beside_the_wheel(environment: Path) -> None:
    passed = run(environment / "bin" / "python", "-m", "pytest", "-q", PACKAGE, cwd=environment)
    assert " passed" in passed


def test_it_imports_what_a_stranger_may() -> None:
    for module in (PACKAGE / "src").rglob("*.py"):
        for line in module.read_text().splitlines():
            if line.startswith(("import abaxus_", "from abaxus_")):
                assert line.split()[1].startswith(("abaxus_core.plugin.", "abaxus_mollie"))


def test_it_is_listed_as_ours_are(environment: Path) -> None:
    environ = {"PATH": os.environ["PATH"], **CONFIGURED, "COLUMNS": "200"}
    listed = abaxus(environment, environ, "plugins")
    assert listed == abaxus(environment, environ, "plugins", "list")
    (row,) = (line.split() for line in listed.splitlines() if line.startswith("mollie "))
    assert row[1:4] == ["abaxus-mollie", "0.1.0", "yes"]
    assert row[4:] == ["payment", "mollie", "1", "api.mollie.com"]


def test_what_is_wrong_with_its_settings_stops_the_start_by_name(environment: Path) -> None:
    environ = {"PATH": os.environ["PATH"], **CONFIGURED, "MOLLIE_API_KEY": "hunter2"}
    refused = subprocess.run(
        [environment / "bin" / "abaxus", "plugins"], env=environ, capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "plugin 'mollie' of abaxus-mollie 0.1.0: MOLLIE_API_KEY must be" in refused.stderr
    assert "hunter2" not in refused.stdout + refused.stderr


@asynccontextmanager
async def serving(environment: Path, environ: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """API and worker as processes, and a client with a live key."""
    url = f"http://127.0.0.1:{environ['PORT']}"
    abaxus(environment, environ, "migrate")
    key = abaxus(environment, environ, "keys", "create", "--name", "t", "--scope", "admin").strip()
    processes = [_started(environment, environ, name) for name in ("api", "worker")]
    try:
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30
        ) as client:
            await eventually(_ready, client, processes[0])
            yield client
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(30) for process in processes]
        assert codes == [0, 0], _logged(environment)


def _started(environment: Path, environ: dict[str, str], name: str) -> subprocess.Popen[bytes]:
    command = [environment / "bin" / "abaxus", name]
    with (environment / f"{name}.log").open("w") as log:
        return subprocess.Popen(command, env=environ, stdout=log, stderr=log)


def _logged(environment: Path) -> str:
    return "".join(log.read_text() for log in sorted(environment.glob("*.log")))


async def _ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
async def world(environment: Path, cluster: Cluster, tmp_path: Path) -> AsyncIterator[World]:
    ca, ca_file = authority(tmp_path)
    dsn = await cluster.create(migrated=False)
    async with MollieFake(api_key=KEY, profile_id=PROFILE) as mollie:
        port = int(mollie.url.rpartition(":")[2])
        async with tls_front(port, ["api.mollie.com"], ca) as front:
            environ = {
                **child.environ(tmp_path, names={"api.mollie.com": front.port}, ca_file=ca_file),
                **CONFIGURED,
                "DATABASE_URL": dsn,
                "DATABASE_SSL_MODE": "disable",
                "API_MASTER_KEY": MASTER_KEY,
                "PORT": str(free_port()),
                "WORKER_PORT": str(free_port()),
            }
            async with serving(environment, environ) as client:
                yield World(client, mollie, front, tmp_path)
    await cluster.drop(dsn)


async def test_it_charges_by_configuration_alone(world: World, environment: Path) -> None:
    await world.post("/price-plans", 201, PLAN)
    paid = await world.invoice("acme", "mdt_Good")
    assert (await world.post(f"/invoices/{paid}/charge", 200))["status"] == "paid"
    (charge,) = world.mollie.charges
    assert (charge.amount, charge.currency) == (15775, "EUR")

    declined = await world.invoice("beta", "mdt_Failed")
    error = (await world.post(f"/invoices/{declined}/charge", 402))["error"]
    assert (error["code"], error["details"]["code"]) == ("PAYMENT_DECLINED", "insufficient_funds")

    lost = await world.invoice("gamma", "mdt_Good")
    world.mollie.faults.append("lose")
    unknown = await world.post(f"/invoices/{lost}/charge", 202)
    assert unknown["payment_status"] == "unknown"
    await eventually(world.is_paid, lost)

    assert len(world.mollie.charges) == 2, "the worker charged twice"
    assert child.elsewhere(world.folder) == {"api.mollie.com"}
    said = b"".join(world.front.said)
    assert b"mdt_Good" in said
    for kept_home in (b"Acme", b"acme", b"Base", b"inv_", b"2026-04", MASTER_KEY.encode()):
        assert kept_home not in said
    assert KEY not in _logged(environment)


@pytest.mark.parametrize("kind", ["payment", "email"])
def test_a_new_plugin_runs_and_fails_only_where_it_is_to_fill_in(
    environment: Path, tmp_path: Path, kind: str
) -> None:
    name, folder = f"acme-{kind}", tmp_path / "new"
    usual = {"PATH": os.environ["PATH"], "COLUMNS": "200"}
    written = abaxus(environment, usual, *_new(name, kind, folder))
    assert str(folder / "pyproject.toml") in written
    environments.install(environment, environments.build(folder, "wheel", tmp_path / "dist"))

    settings = {f"ACME_{kind.upper()}_{one}": "x" for one in ("ACCOUNT", "SECRET_KEY", "API_KEY")}
    hosts = abaxus(environment, {**usual, **settings, "PLUGINS": name}, "plugins", "hosts")
    assert hosts.split()[0].endswith(f"api.{name}.example")

    ran = subprocess.run(
        [environment / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED ")]
    assert len(failed) == 1, ran.stdout
    assert failed[0].startswith("FAILED tests/test_filled_in.py::"), ran.stdout
    assert "1 failed, " in ran.stdout
    assert "README.md:3: " in ran.stdout


def _new(name: str, kind: str, folder: Path) -> tuple[str, ...]:
    return ("plugins", "new", name, "--kind", kind, "--into", str(folder))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mollie", "abaxus-mollie already brings a plugin 'mollie'"),
        ("Acme", "'Acme' is no name for a plugin"),
        ("acme_pay", "'acme_pay' is no name for a plugin"),
        ("acme", "is there already, and not empty"),
    ],
)
def test_a_new_plugin_that_cannot_be_is_refused(
    environment: Path, tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "kept").touch()
    command = [environment / "bin" / "abaxus", *_new(name, "email", tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert says in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_nothing_is_mapped_without_being_asked(tmp_path: Path) -> None:
    """The negative control: what a process looks up is noted, whoever catches the error."""
    code = "import socket\ntry: socket.create_connection(('abaxus.invalid', 1))\nexcept OSError: 1"
    run(sys.executable, "-c", code, cwd=tmp_path, environ=child.environ(tmp_path))
    assert child.elsewhere(tmp_path) == {"abaxus.invalid"}
