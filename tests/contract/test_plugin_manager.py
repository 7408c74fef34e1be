"""Plugins of strangers: throw-away distributions on the path, found, loaded or refused."""

import itertools
import textwrap
from pathlib import Path

import pytest

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import plugin_manager
from abaxus_core.kernel.plugin_manager import Description

GOOD = """
from contextlib import asynccontextmanager

import msgspec

from abaxus_core.plugin.hookspecs import hookimpl
from abaxus_core.plugin.payments import Capabilities, PaymentProviderDescriptor
from abaxus_core.plugin.settings import Secret


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    secret_key: Secret
    region: str = "eu"
    retries: int = 1


class Provider:
    capabilities = Capabilities(idempotency_ttl_s=0, fetch=False, find=False)
    account = "acme"

    def __init__(self, settings, http):
        self.settings = settings
        self.http = http


@asynccontextmanager
async def open_provider(settings, http):
    if settings.region == "closed":
        raise RuntimeError("no such region")
    yield Provider(settings, http)


@hookimpl
def register_payment_providers():
    return [
        PaymentProviderDescriptor(
            name=NAME,
            contract=CONTRACT,
            settings=Settings,
            hosts=lambda settings: frozenset({HOST}),
            open=open_provider,
        )
    ]
"""


_numbers = itertools.count(1)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution of one module: `install("acme-pay", "1.2", "acme", code)`."""

    def install(distribution: str, version: str, plugin: str, code: str) -> None:
        folder = tmp_path / distribution
        module = f"throw_away_{next(_numbers)}"
        info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[abaxus]\n{plugin} = {module}\n")
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(str(folder))

    return install


HOOK = "from abaxus_core.plugin.hookspecs import hookimpl\n@hookimpl\n"


def good(name: str = "acme", contract: int = 1, host: str = "api.acme.example") -> str:
    return f"NAME, CONTRACT, HOST = {name!r}, {contract}, {host!r}\n{GOOD}"


def installed_names() -> str:
    return ", ".join(sorted({plugin.name for plugin in plugin_manager.installed()}))


def faults_of(names, environ=None) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        plugin_manager.load(names, {} if environ is None else environ)
    return refused.value.faults


KEY = {"ACME_SECRET_KEY": "sk_hunter2"}


async def test_a_strangers_plugin_is_loaded_and_opened(install):
    install("acme-pay", "1.2", "acme", good())

    plugins = plugin_manager.load(["acme"], {**KEY, "ACME_RETRIES": "3"})
    async with plugin_manager.opened(plugins) as opened:
        provider = opened.payment_providers["acme"]

        assert provider.settings.secret_key.reveal() == "sk_hunter2"
        assert (provider.settings.region, provider.settings.retries) == ("eu", 3)
        assert not provider.http.is_closed
    assert provider.http.is_closed
    assert "hunter2" not in repr(plugins)


def test_only_named_plugins_are_imported(install):
    install("acme-pay", "1.2", "acme", "raise RuntimeError('imported')")

    assert plugin_manager.load([], {}).payment_providers == {}
    assert "acme" in [plugin.name for plugin in plugin_manager.installed()]


def test_what_comes_with_us_takes_the_same_road():
    plugins = plugin_manager.load(["sandbox", "outbox"], {"OUTBOX_DIR": "/tmp/mails"})

    assert list(plugins.payment_providers) == ["sandbox"]
    assert plugins.email_senders["outbox"].settings.dir == Path("/tmp/mails")


def test_describe_lists_what_is_installed_and_what_is_enabled(install):
    install("acme-pay", "1.2", "acme", good())

    lines = {line.plugin: line for line in plugin_manager.describe(["acme"], KEY)}

    assert lines["acme"] == Description(
        plugin="acme",
        distribution="acme-pay",
        version="1.2",
        enabled=True,
        kind="payment",
        provider="acme",
        contract=1,
        hosts=("api.acme.example",),
    )
    assert not lines["sandbox"].enabled


def test_an_unknown_name_lists_what_is_installed(install):
    install("acme-pay", "1.2", "acme", good())
    (fault,) = faults_of(["none"])
    assert fault == f"PLUGINS: no plugin 'none' is installed; there are: {installed_names()}"


def test_two_distributions_of_one_name_are_both_named(install):
    install("acme-pay", "1.2", "acme", good())
    install("acme-evil", "9.9", "acme", "raise RuntimeError('imported')")

    (fault,) = faults_of(["acme"], KEY)

    assert fault == (
        "PLUGINS: 'acme' is offered by acme-evil 9.9 and acme-pay 1.2; uninstall all but one"
    )


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (good(contract=2), "'acme' speaks contract 2, this is 1"),
        (good(name="Acme Pay"), "'Acme Pay' is no name"),
        (good(host="*"), "declares '*', which is no host"),
        (good(host="*.com"), "declares '*.com', which is no host"),
        (good(host="https://api.acme.example"), "which is no host"),
        (good(host="10.0.0.1:443"), "which is no host"),
        ("raise RuntimeError('no licence')", "cannot be imported: RuntimeError: no licence"),
        ("import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError"),
        ("", "registers no provider"),
        (
            HOOK + "def register_payment_provider(): return []",
            "unknown hook 'register_payment_provider'",
        ),
        (
            HOOK + "def register_payment_providers(config): return []",
            "implements no hook of ours",
        ),
        (
            HOOK + "def register_payment_providers(): return ['acme']",
            "its payment hook returns str, not PaymentProviderDescriptor",
        ),
        (
            HOOK + "def register_payment_providers(): return 1",
            "fails to register: TypeError",
        ),
        (
            HOOK + "def register_email_senders(): raise RuntimeError('broken')",
            "fails to register: RuntimeError: broken",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_distribution_and_version(install, code, says):
    install("acme-pay", "1.2", "acme", code)

    (fault,) = faults_of(["acme"], KEY)

    assert fault.startswith("plugin 'acme' of acme-pay 1.2")
    assert says in fault


def test_a_payment_descriptor_does_not_come_in_by_the_email_hook(install):
    code = good().replace("def register_payment_providers", "def register_email_senders")
    install("acme-pay", "1.2", "acme", code)
    (fault,) = faults_of(["acme"], KEY)
    assert "its email hook returns PaymentProviderDescriptor" in fault


def test_all_faults_are_reported_together_and_no_secret(install):
    install("acme-pay", "1.2", "acme", good())
    install("other-pay", "0.1", "other", good(name="other", contract=7))

    faults = faults_of(["acme", "other", "none"], {"ACME_RETRIES": "many"})

    assert faults == [
        "plugin 'acme' of acme-pay 1.2: ACME_SECRET_KEY is not set",
        "plugin 'acme' of acme-pay 1.2: ACME_RETRIES: must be a whole number (got 'many')",
        "plugin 'other' of other-pay 0.1: 'other' speaks contract 7, this is 1",
        f"PLUGINS: no plugin 'none' is installed; there are: {installed_names()}",
    ]


def test_two_plugins_may_not_register_the_same_provider(install):
    install("acme-pay", "1.2", "acme", good())
    install("other-pay", "0.1", "other", good(name="acme"))

    (fault,) = faults_of(["acme", "other"], KEY)

    assert "plugin 'acme' of acme-pay 1.2 and plugin 'other' of other-pay 0.1 both" in fault


async def test_a_provider_that_does_not_open_is_named(install):
    install("acme-pay", "1.2", "acme", good())
    plugins = plugin_manager.load(["acme"], {**KEY, "ACME_REGION": "closed"})

    with pytest.raises(ConfigurationError) as refused:
        async with plugin_manager.opened(plugins):
            pass

    (fault,) = refused.value.faults
    assert fault == (
        "plugin 'acme' of acme-pay 1.2: 'acme' does not open: RuntimeError: no such region"
    )


def test_a_wrapper_around_anothers_hook_reaches_nothing(install):
    install("acme-pay", "1.2", "acme", good())
    install(
        "evil-pay",
        "6.6",
        "evil",
        """
        from abaxus_core.plugin.hookspecs import hookimpl

        @hookimpl(wrapper=True)
        def register_payment_providers():
            yield
            return []
        """,
    )

    assert list(plugin_manager.load(["acme"], KEY).payment_providers) == ["acme"]
    (fault,) = faults_of(["acme", "evil"], KEY)
    assert fault == "plugin 'evil' of evil-pay 6.6 registers no provider"
