"""What may leave, said in three places: the plugins' descriptors, the page for readers, and the
network policies in k8s/.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from abaxus_plugins.smtp.settings import PORTS
from tests.support import what_leaves
from tests.support.what_leaves import CONFIGURED, registered

COMPONENTS = Path(__file__).parents[2] / "k8s" / "components"
HTTPS = 443


def policy(component: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        (COMPONENTS / component / "network-policy.yaml").read_text()
    )
    return found


def hosts() -> Iterator[tuple[str, str]]:
    """Plugin and host, of everything that speaks HTTP."""
    for name in CONFIGURED:
        for _, one in registered(name):
            if name != "smtp":  # its hosts are the operator's
                yield from ((name, host) for host in one.hosts)


def named() -> list[str]:
    """The hosts of the policy that knows hosts."""
    (rule,) = (rule for rule in policy("provider-hosts")["spec"]["egress"] if "toFQDNs" in rule)
    return [text for entry in rule["toFQDNs"] for text in entry.values()]


def matches(pattern: str, host: str) -> bool:
    """As Cilium reads `matchPattern`: `*` stands for characters of a name, dots excluded."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[-a-zA-Z0-9_]*"), host) is not None


def test_the_page_is_current() -> None:
    assert what_leaves.PAGE.read_text() == what_leaves.page(), "run make what-leaves"


def test_every_plugin_is_on_it() -> None:
    assert set(CONFIGURED) == what_leaves.shipped()


@pytest.mark.parametrize("name", CONFIGURED)
def test_whoever_has_a_host_declares_what_it_sends(name: str) -> None:
    for _, one in registered(name):
        if one.hosts:
            assert one.descriptor.fields
            assert one.descriptor.headers or name == "smtp"


def test_every_host_is_let_through_and_no_other_is_named() -> None:
    for name, host in hosts():
        assert any(matches(pattern, host) for pattern in named()), (name, host)
    for pattern in named():
        assert any(matches(pattern, host) for _, host in hosts()), pattern


def test_a_host_that_is_not_named_would_be_missed() -> None:
    for stranger in (
        "api.mollie.com",
        "evil.com",
        "x.checkout-test.adyen.com",
        "a.b.amazonaws.com",
    ):
        assert not any(matches(pattern, stranger) for pattern in named())


@pytest.mark.parametrize("component", ["provider-egress", "provider-hosts"])
def test_https_is_open_to_api_and_worker(component: str) -> None:
    manifest = policy(component)
    spec = manifest["spec"]
    selector = spec.get("podSelector") or spec["endpointSelector"]
    assert selector["matchExpressions"][0]["values"] == ["api", "worker"]
    assert HTTPS in set(_ports(spec["egress"]))


def test_the_ports_of_mail_servers_are_open_to_the_worker() -> None:
    spec = policy("mail-egress")["spec"]
    assert spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    assert set(_ports(spec["egress"])) == set(PORTS.values())


def _ports(egress: list[dict[str, Any]]) -> Iterator[int]:
    for rule in egress:
        yield from (int(port["port"]) for port in rule.get("ports", []))
        for to in rule.get("toPorts", []):
            yield from (int(port["port"]) for port in to["ports"])


def run(*arguments: str, **environ: str) -> str:
    command = (sys.executable, "-m", "abaxus_core.cli", "plugins", "hosts", *arguments)
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


def test_the_command_prints_what_this_configuration_may_contact() -> None:
    environ = {**CONFIGURED["adyen"][1], **CONFIGURED["smtp"][0], "PLUGINS": "adyen,smtp,outbox"}
    assert run(**environ) == (
        "1797a841fbb37ca7-adyendemo-checkout-live.adyenpayments.com\nmail.seller.example\n"
    )
    told = [json.loads(line) for line in run("--json", **environ).splitlines()]
    assert [one["provider"] for one in told] == ["adyen", "outbox", "smtp"]
    assert "merchantAccount" in told[0]["fields"]
    assert told[0]["headers"] == ["content-type", "idempotency-key", "x-api-key"]
    assert told[1]["hosts"] == []


def test_the_command_prints_nothing_where_nobody_is_contacted() -> None:
    assert run() == ""
    assert run(PLUGINS="sandbox,outbox") == ""
