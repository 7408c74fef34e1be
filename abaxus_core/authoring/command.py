"""The commands `abaxus plugins [list|hosts|new]`, mounted by cli.py."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console

from abaxus_core.authoring import skeleton
from abaxus_core.errors import AbaxusError, ConfigurationError
from abaxus_core.kernel import config, plugin_manager
from abaxus_core.kernel.plugin_manager import Description
from abaxus_core.services import plugins as provider_plugins
from abaxus_core.shell import fail, run, table


@click.group(invoke_without_command=True)
@click.option("--check", is_flag=True, help="Ask each payment provider whether it takes our key.")
@click.pass_context
def plugins(context: click.Context, *, check: bool) -> None:
    """What is installed, what is enabled, whom it may contact; a new one."""
    if check:
        _check_credentials()
    elif context.invoked_subcommand is None:
        context.invoke(list_command)


@plugins.command("list")
def list_command() -> None:
    """What is installed, what is enabled, and the hosts it may contact."""
    listed = table("plugin", "version", "enabled", "kind", "provider", "contract", "hosts")
    for one in _described():
        listed.add_row(
            one.plugin,
            f"{one.distribution} {one.version}",
            "yes" if one.enabled else "no",
            one.kind or "",
            one.provider or "",
            "" if one.contract is None else str(one.contract),
            " ".join(one.hosts) or ("none" if one.enabled else ""),
        )
    Console().print(listed)


@plugins.command("hosts")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a provider, with its fields.")
def hosts_command(*, as_json: bool) -> None:
    """Every host that the configured plugins may contact, one a line; nothing else is contacted."""
    enabled = [one for one in _described() if one.enabled]
    if as_json:
        for one in enabled:
            click.echo(msgspec.json.encode(one))
        return
    for host in sorted({host for one in enabled for host in one.hosts}):
        click.echo(host)


@plugins.command("new")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(["payment", "email"]))
@click.option("--into", type=click.Path(path_type=Path), help="A new folder; ./abaxus-NAME.")
def new_command(*, name: str, kind: skeleton.Kind, into: Path | None) -> None:
    """Write a new plugin NAME: a package with tests that run."""
    folder = into or Path(skeleton.distribution_of(name))
    try:
        written = skeleton.write(name, kind, folder)
    except AbaxusError as error:
        fail(error)
    for path in written:
        click.echo(path)
    click.echo(f"next: cd {folder} && pip install -e '.[tests]' && pytest")


def _check_credentials() -> None:
    names = config.plugin_names(os.environ)
    checked = run(provider_plugins.check(names, os.environ))
    for provider, faults in checked.items():
        for sentence in faults or ("the credentials are good",):
            click.echo(f"{provider}: {sentence}")
    if any(checked.values()):
        sys.exit(1)


def _described() -> Sequence[Description]:
    try:
        return plugin_manager.describe(config.plugin_names(os.environ), os.environ)
    except ConfigurationError as error:
        fail(error)
