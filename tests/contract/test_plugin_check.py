"""`abaxus plugins --check`: whether the services take the credentials, before any charge."""

import pytest
from click.testing import CliRunner

from abaxus_core import app
from abaxus_core.cli import cli
from abaxus_core.services import plugins
from tests.support.adyen_fake import AdyenFake
from tests.support.providers import redirected
from tests.support.stripe_fake import StripeFake

ENVIRON = {
    "STRIPE_SECRET_KEY": "sk_test_51Fake",
    "ADYEN_API_KEY": "AQEfake-key",
    "ADYEN_MERCHANT_ACCOUNT": "AcmeECOM",
}


async def checked(**changes):
    async with StripeFake() as stripe, AdyenFake() as adyen:
        http = redirected({"api.stripe.com": stripe.url, "checkout-test.adyen.com": adyen.url})
        names = ["stripe", "adyen", "sandbox", "outbox"]
        found = await plugins.check(names, {**ENVIRON, **changes}, http=http)
        assert stripe.charges == adyen.charges == []
        return {name: list(faults) for name, faults in found.items()}


async def test_good_credentials_are_good_and_who_asks_nobody_is_not_asked():
    assert await checked() == {"stripe": [], "adyen": []}


async def test_each_wrong_credential_is_named():
    wrong = {"STRIPE_SECRET_KEY": "sk_test_51Old", "ADYEN_API_KEY": "AQEold-key"}
    assert await checked(**wrong) == {
        "stripe": ["STRIPE_SECRET_KEY: Stripe does not accept this key"],
        "adyen": ["ADYEN_API_KEY: Adyen does not accept this key"],
    }


async def test_a_service_out_of_reach_is_said_so():
    http = redirected({"api.stripe.com": "http://127.0.0.1:1"})
    found = await plugins.check(["stripe"], ENVIRON, http=http)
    assert list(found["stripe"]) == ["api.stripe.com cannot be reached: ConnectError"]


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [("sandbox,outbox", 0, ""), ("adyen", 1, "ADYEN_API_KEY is not set")],
)
def test_the_command(monkeypatch, names, code, said):
    monkeypatch.setenv("PLUGINS", names)
    done = CliRunner().invoke(cli, ["plugins", "--check"])
    assert done.exit_code == code
    assert said in done.output


def test_what_serves_test_mode_can_reach_nobody_whatever_is_configured():
    environ = {
        "DATABASE_URL": "postgresql://nowhere",
        "API_MASTER_KEY": "m" * 32,
        "PLUGINS": "stripe,adyen",
        "PAYMENT_PROVIDER": "stripe",
        **ENVIRON,
    }
    _, live, test = plugins.read(environ, app.TEST_MODE_PROVIDERS)
    assert set(live.plugins.payment_providers) == {"stripe", "adyen"}
    brought = [*test.plugins.payment_providers.values(), *test.plugins.email_senders.values()]
    assert [one.descriptor.name for one in brought] == ["sandbox", "outbox"]
    assert frozenset().union(*(one.hosts for one in brought)) == frozenset()
