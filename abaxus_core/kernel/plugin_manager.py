"""Finds plugins, refuses what does not fit, opens what they register.

Only plugins that are named are imported, ours by the same road as a stranger's. Each is registered
with a pluggy manager of its own, so that no plugin can wrap, shadow or reorder another's hooks.
Which plugins a mode gets, and what their providers are for, is decided above.
"""

import importlib.metadata
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import httpx
import msgspec
import pluggy

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel import environment, outbound
from abaxus_core.plugin import email, hookspecs, payments
from abaxus_core.plugin.email import EmailSender, EmailSenderDescriptor
from abaxus_core.plugin.payments import PaymentProvider, PaymentProviderDescriptor

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")

Descriptor = PaymentProviderDescriptor | EmailSenderDescriptor
_CONTRACTS: Final[Mapping[str, tuple[type[Descriptor], int]]] = MappingProxyType(
    {
        "payment": (PaymentProviderDescriptor, payments.CONTRACT),
        "email": (EmailSenderDescriptor, email.CONTRACT),
    }
)
HttpFactory = Callable[[frozenset[str]], AbstractAsyncContextManager[httpx.AsyncClient]]


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """An entry point of the group `abaxus`, not imported."""

    name: str
    distribution: str
    version: str
    entry_point: importlib.metadata.EntryPoint

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """One provider of an enabled plugin, with its settings read and its hosts known."""

    plugin: Installed
    kind: str
    descriptor: Descriptor
    settings: msgspec.Struct
    hosts: frozenset[str]


class Plugins(msgspec.Struct, frozen=True, kw_only=True):
    """What was loaded: providers by name."""

    payment_providers: dict[str, Registered]
    email_senders: dict[str, Registered]


@dataclass(frozen=True, slots=True)
class Opened:
    """What was opened: providers by name, in use until `opened` is left."""

    payment_providers: Mapping[str, PaymentProvider]
    email_senders: Mapping[str, EmailSender]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A line of `abaxus plugins`; what a provider declares is known of enabled plugins only."""

    plugin: str
    distribution: str
    version: str
    enabled: bool
    kind: str | None = None
    provider: str | None = None
    contract: int | None = None
    hosts: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


def installed() -> list[Installed]:
    """Every plugin that is installed, by name; imports none."""
    found = [
        Installed(
            name=entry_point.name,
            distribution=distribution.name,
            version=distribution.version,
            entry_point=entry_point,
        )
        for distribution in _distributions()
        for entry_point in distribution.entry_points
        if entry_point.group == hookspecs.ENTRY_POINT_GROUP
    ]
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution))


def load(names: Iterable[str], environ: Mapping[str, str]) -> Plugins:
    """The providers of the named plugins, settings decoded. Raises ConfigurationError with every
    fault, a sentence each that names distribution and version.
    """
    known = installed()
    faults: list[str] = []
    registered: list[Registered] = []
    for name in dict.fromkeys(names):
        try:
            registered.extend(_load_one(_pick(name, known), environ))
        except ConfigurationError as error:
            faults.extend(error.faults)
    faults.extend(_clashes(registered))
    if faults:
        raise ConfigurationError(faults)
    return Plugins(
        payment_providers={one.descriptor.name: one for one in registered if one.kind == "payment"},
        email_senders={one.descriptor.name: one for one in registered if one.kind == "email"},
    )


def describe(names: Iterable[str], environ: Mapping[str, str]) -> list[Description]:
    """What is installed, and of the named what they bring. Raises as `load`."""
    enabled = set(names)
    plugins = load(names, environ)
    loaded = [*plugins.payment_providers.values(), *plugins.email_senders.values()]
    lines = [
        Description(
            plugin=one.plugin.name,
            distribution=one.plugin.distribution,
            version=one.plugin.version,
            enabled=True,
            kind=one.kind,
            provider=one.descriptor.name,
            contract=one.descriptor.contract,
            hosts=tuple(sorted(map(str, one.hosts))),
            fields=tuple(sorted(one.descriptor.fields)),
            headers=tuple(sorted(one.descriptor.headers)),
        )
        for one in loaded
    ]
    lines += [
        Description(
            plugin=one.name, distribution=one.distribution, version=one.version, enabled=False
        )
        for one in installed()
        if one.name not in enabled
    ]
    return sorted(lines, key=lambda line: (line.plugin, line.kind or "", line.provider or ""))


@asynccontextmanager
async def opened(
    plugins: Plugins, *, http: HttpFactory = outbound.open_client
) -> AsyncIterator[Opened]:
    """The providers, open until the block is left. Raises ConfigurationError if one will not."""
    async with AsyncExitStack() as stack:
        yield Opened(
            payment_providers=await _open_all(stack, plugins.payment_providers, http),
            email_senders=await _open_all(stack, plugins.email_senders, http),
        )


def settings_prefix(provider: str) -> str:
    """The prefix of a provider's variables: `STRIPE_`."""
    return provider.upper().replace("-", "_") + "_"


async def _open_all(
    stack: AsyncExitStack, registered: Mapping[str, Registered], http: HttpFactory
) -> dict[str, Any]:
    providers: dict[str, Any] = {}
    for name, one in registered.items():
        client = await stack.enter_async_context(http(one.hosts))
        try:
            opening = one.descriptor.open(one.settings, client)
            providers[name] = await stack.enter_async_context(opening)
        except Exception as error:  # a stranger's code: any fault of it is a sentence at start
            raise ConfigurationError(
                [f"{one.plugin}: {name!r} does not open: {type(error).__name__}: {error}"]
            ) from error
    return providers


def _distributions() -> Iterable[importlib.metadata.Distribution]:
    """Each installed distribution once: as in imports, the first on the path hides the rest."""
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.name or "").lower()
        if name and name not in seen:
            seen.add(name)
            yield distribution


def _pick(name: str, known: list[Installed]) -> Installed:
    found = [plugin for plugin in known if plugin.name == name]
    if not found:
        choice = ", ".join(dict.fromkeys(plugin.name for plugin in known)) or "none"
        raise ConfigurationError([f"PLUGINS: no plugin {name!r} is installed; there are: {choice}"])
    if len(found) > 1:
        owners = " and ".join(f"{one.distribution} {one.version}" for one in found)
        raise ConfigurationError(
            [f"PLUGINS: {name!r} is offered by {owners}; uninstall all but one"]
        )
    return found[0]


def _load_one(plugin: Installed, environ: Mapping[str, str]) -> list[Registered]:
    try:
        module = plugin.entry_point.load()
    except Exception as error:  # a stranger's code runs on import
        raise ConfigurationError(
            [f"{plugin} cannot be imported: {type(error).__name__}: {error}"]
        ) from error
    found = _register(plugin, module)
    registered: list[Registered] = []
    faults: list[str] = []
    for kind, descriptor in found:
        complaint = _complaint(kind, descriptor)
        if complaint:
            faults.append(f"{plugin}: {complaint}")
            continue
        try:
            registered.append(_configure(plugin, kind, descriptor, environ))
        except ConfigurationError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigurationError(faults)
    return registered


def _register(plugin: Installed, module: object) -> list[tuple[str, object]]:
    """What the plugin's hooks return, with the kind that each hook is for."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=plugin.name)
        manager.check_pending()
        found = [
            *_all("payment", manager.hook.register_payment_providers()),
            *_all("email", manager.hook.register_email_senders()),
        ]
    except pluggy.PluginValidationError as error:
        raise ConfigurationError([f"{plugin} implements no hook of ours: {error}"]) from error
    except Exception as error:  # a stranger's code runs in the hook
        raise ConfigurationError(
            [f"{plugin} fails to register: {type(error).__name__}: {error}"]
        ) from error
    if not found:
        raise ConfigurationError([f"{plugin} registers no provider"])
    return found


def _all(kind: str, results: list[Iterable[object]]) -> list[tuple[str, object]]:
    return [(kind, descriptor) for result in results for descriptor in result]


def _complaint(kind: str, descriptor: object) -> str | None:
    wanted, contract = _CONTRACTS[kind]
    if not isinstance(descriptor, PaymentProviderDescriptor | EmailSenderDescriptor) or (
        type(descriptor) is not wanted
    ):
        return f"its {kind} hook returns {type(descriptor).__name__}, not {wanted.__name__}"
    if descriptor.contract != contract:
        return f"{descriptor.name!r} speaks contract {descriptor.contract}, this is {contract}"
    if not _NAME.fullmatch(descriptor.name):
        return f"{descriptor.name!r} is no name: lower-case letters, digits and dashes"
    return None


def _configure(
    plugin: Installed, kind: str, descriptor: object, environ: Mapping[str, str]
) -> Registered:
    assert isinstance(descriptor, PaymentProviderDescriptor | EmailSenderDescriptor)
    settings, faults = environment.read(
        environ, descriptor.settings, prefix=settings_prefix(descriptor.name)
    )
    if settings is None:
        raise ConfigurationError([f"{plugin}: {fault}" for fault in faults])
    try:
        hosts = frozenset(descriptor.hosts(settings))
    except Exception as error:  # a stranger's code
        raise ConfigurationError([f"{plugin}: {descriptor.name!r}: {error}"]) from error
    wrong = sorted(host for host in hosts if not outbound.is_host_pattern(host))
    if wrong:
        raise ConfigurationError(
            [f"{plugin}: {descriptor.name!r} declares {wrong[0]!r}, which is no host"]
        )
    return Registered(
        plugin=plugin, kind=kind, descriptor=descriptor, settings=settings, hosts=hosts
    )


def _clashes(registered: list[Registered]) -> list[str]:
    seen: dict[tuple[str, str], Registered] = {}
    faults = []
    for one in registered:
        key = (one.kind, one.descriptor.name)
        if key in seen:
            faults.append(
                f"{seen[key].plugin} and {one.plugin} both register"
                f" the {one.kind} provider {one.descriptor.name!r}"
            )
        seen[key] = one
    return faults
