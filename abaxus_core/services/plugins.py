"""Which plugins a mode of the process gets, and which of their providers it charges and mails by.

Names of providers come from the operator's settings, or, for test mode, from the composition root;
there is none in here.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import config, plugin_manager
from abaxus_core.kernel.config import Settings
from abaxus_core.kernel.plugin_manager import HttpFactory, Plugins
from abaxus_core.plugin.email import EmailSender
from abaxus_core.plugin.payments import PaymentProvider, ValidatingProvider

CHECK_TIMEOUT_S: Final = 20


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The plugins of one mode, and its providers among what they bring; None: it has none."""

    plugins: tuple[str, ...]
    payment_provider: str | None
    email_provider: str | None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A choice that was found good: everything loaded, nothing opened."""

    plugins: Plugins
    payment_provider: str | None
    email_provider: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """What a Context needs of them."""

    payment_providers: Mapping[str, PaymentProvider]
    default_payment_provider: str | None
    email_provider: str | None
    email_sender: EmailSender | None


def read(environ: Mapping[str, str], stand_ins: Choice) -> tuple[Settings, Selection, Selection]:
    """Settings, and the providers of live and of test mode (`stand_ins`).

    Raises ConfigurationError with every fault of settings and plugins at once.
    """
    settings, faults = config.read(environ)
    chosen = Choice(
        plugins=config.plugin_names(environ),
        payment_provider=environ.get("PAYMENT_PROVIDER") or None,
        email_provider=environ.get("EMAIL_PROVIDER") or None,
    )
    live, live_faults = _select(chosen, environ)
    test, test_faults = _select(stand_ins, environ)
    faults += [*live_faults, *(fault for fault in test_faults if fault not in live_faults)]
    if settings is None or live is None or test is None:
        raise ConfigurationError(faults)
    return settings, live, test


@asynccontextmanager
async def opened(
    selection: Selection, *, http: HttpFactory | None = None
) -> AsyncIterator[Providers]:
    """The selection's providers, open until the block is left. `http`: another client, in tests."""
    factory = {} if http is None else {"http": http}
    async with plugin_manager.opened(selection.plugins, **factory) as opened:
        name = selection.email_provider
        yield Providers(
            payment_providers=opened.payment_providers,
            default_payment_provider=selection.payment_provider,
            email_provider=name,
            email_sender=opened.email_senders[name] if name else None,
        )


async def check(
    names: Iterable[str], environ: Mapping[str, str], *, http: HttpFactory | None = None
) -> dict[str, Sequence[str]]:
    """What is wrong with the credentials of each payment provider that can ask its service; nothing
    is charged. Raises ConfigurationError as `read`. `http`: another client, in tests.
    """
    factory = {} if http is None else {"http": http}
    async with plugin_manager.opened(plugin_manager.load(names, environ), **factory) as opened:
        return {
            name: await _validate(cast("ValidatingProvider", provider))
            for name, provider in opened.payment_providers.items()
            if provider.capabilities.validate
        }


async def _validate(provider: ValidatingProvider) -> Sequence[str]:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await provider.validate()
    except Exception as error:  # noqa: BLE001 - a stranger's code: whatever it is, nothing was proved
        return (f"it cannot be checked: {type(error).__name__}",)


def _select(choice: Choice, environ: Mapping[str, str]) -> tuple[Selection | None, list[str]]:
    try:
        plugins = plugin_manager.load(choice.plugins, environ)
    except ConfigurationError as error:
        return None, list(error.faults)
    faults = [
        *_missing("PAYMENT_PROVIDER", choice.payment_provider, plugins.payment_providers),
        *_missing("EMAIL_PROVIDER", choice.email_provider, plugins.email_senders),
    ]
    if faults:
        return None, faults
    return Selection(
        plugins=plugins,
        payment_provider=choice.payment_provider,
        email_provider=choice.email_provider,
    ), []


def _missing(setting: str, name: str | None, known: Mapping[str, object]) -> list[str]:
    if name is None or name in known:
        return []
    choice = ", ".join(sorted(known)) or "none"
    return [f"{setting}: no enabled plugin brings {name!r}; they bring: {choice}"]
