"""The command line: one process per command, settings from the environment.

A fault of the world ends in one sentence on standard error and exit code 1.
"""

import os
import sys
from pathlib import Path

import click
from rich.console import Console

from abaxus_core import __version__, app, dev, processes
from abaxus_core.authoring.command import plugins
from abaxus_core.demo import run as demo
from abaxus_core.importer.command import events
from abaxus_core.kernel import config, log, migrations
from abaxus_core.kernel.database import MODES, connect
from abaxus_core.quarantine import quarantine
from abaxus_core.services import api_keys
from abaxus_core.services.work import SYSTEM, perform
from abaxus_core.shell import minute, run, table
from abaxus_core.verifying import verify

KEYS_LISTED_MAX = 500
DEV_FOLDER = Path(".abaxus")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """ABAXUS: usage events to paid, mailed invoices."""
    # Standard output is for what was asked for; what serves configures its own log afterwards.
    log.configure("warning", "text")


@cli.command()
def api() -> None:
    """Serve the HTTP API."""
    run(processes.serve_api(os.environ))


@cli.command()
def worker() -> None:
    """Land events, run jobs, reconcile payments, send mail."""
    run(processes.run_worker(os.environ))


@cli.command()
@click.option("--check", is_flag=True, help="Only say what is missing; exit code 1 if anything is.")
def migrate(*, check: bool) -> None:
    """Bring the database schema up to date."""
    run(_check_schema() if check else _migrate())


@cli.command("dev")
@click.option("--demo", "with_demo", is_flag=True, help="Load the demo, bill it, print it.")
@click.option("--reset", is_flag=True, help="Forget what earlier runs kept.")
@click.option("--port", default=8080, envvar="PORT", show_default=True)
@click.option("--data", "data_dir", default=DEV_FOLDER, type=click.Path(path_type=Path))
def develop(*, with_demo: bool, reset: bool, port: int, data_dir: Path) -> None:
    """Run everything here on an embedded PostgreSQL, until Ctrl-C."""
    if reset:
        dev.reset(data_dir)
    run(demo.serve(data_dir, port=port, with_demo=with_demo))


@cli.group()
def keys() -> None:
    """API keys: the first has to come from somewhere."""


@keys.command("create")
@click.option("--name", required=True)
@click.option(
    "--scope", "scopes", required=True, multiple=True, type=click.Choice(tuple(api_keys.COVERS))
)
@click.option("--mode", default="live", type=click.Choice(MODES), show_default=True)
def create_key(*, name: str, scopes: tuple[str, ...], mode: str) -> None:
    """Make a key and print it, alone, this once."""
    click.echo(run(app.create_key(os.environ, name=name, scopes=scopes, mode=mode)))


@keys.command("list")
@click.option("--mode", default="live", type=click.Choice(MODES), show_default=True)
def list_keys(*, mode: str) -> None:
    """List the keys of a mode, newest first."""
    listed = table("id", "name", "scopes", "prefix", "created", "revoked")
    for key in run(_newest_keys(mode)):
        created, revoked = minute(key.created_at), minute(key.revoked_at)
        listed.add_row(key.id, key.name, " ".join(key.scopes), key.prefix, created, revoked)
    Console().print(listed)


@keys.command("rotate")
@click.argument("key_id")
@click.option("--mode", default="live", type=click.Choice(MODES), show_default=True)
def rotate_key(*, key_id: str, mode: str) -> None:
    """Give a key a new secret and print it, alone; the old one ends now."""
    click.echo(run(_rotate(key_id, mode)))


@keys.command("revoke")
@click.argument("key_id")
@click.option("--mode", default="live", type=click.Choice(MODES), show_default=True)
def revoke_key(*, key_id: str, mode: str) -> None:
    """End a key for good."""
    run(_revoke(key_id, mode))


events.add_command(quarantine)
cli.add_command(events)
cli.add_command(plugins)
cli.add_command(verify)


def main() -> None:
    """The entry point of the command `abaxus`."""
    cli(prog_name="abaxus")


async def _migrate() -> None:
    settings = config.load_database(os.environ)
    pool = app.pool_settings(settings, "migrate")
    for name in await migrations.migrate(settings.database_url.reveal(), pool):
        click.echo(f"applied {name}")


async def _check_schema() -> None:
    settings = config.load_database(os.environ)
    pool = app.pool_settings(settings, "migrate")
    conn = await connect(settings.database_url.reveal(), pool)
    try:
        missing = await migrations.pending(conn)
    finally:
        await conn.close()
    for migration in missing:
        click.echo(f"missing {migration.name}")
    if missing:
        sys.exit(1)


async def _newest_keys(mode: str) -> list[api_keys.ApiKey]:
    async with (
        app.opened(os.environ, process="keys") as opened,
        opened.databases.of(mode).connection() as conn,
    ):
        return await api_keys.newest(conn, mode=mode, before_id=None, rows_max=KEYS_LISTED_MAX)


async def _rotate(key_id: str, mode: str) -> str:
    async with app.opened(os.environ, process="keys") as opened:
        master_key = opened.settings.api_master_key
        issued = await perform(
            opened.contexts[mode],
            SYSTEM,
            lambda work: api_keys.rotate(work, key_id, mode=mode, master_key=master_key),
        )
    return issued.secret.reveal()


async def _revoke(key_id: str, mode: str) -> None:
    async with app.opened(os.environ, process="keys") as opened:
        await perform(
            opened.contexts[mode], SYSTEM, lambda work: api_keys.revoke(work, key_id, mode=mode)
        )


if __name__ == "__main__":
    main()
