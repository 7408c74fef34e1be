"""A server of a benchmark's own: fresh, and as durable as one that keeps its promises."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from abaxus_core.kernel import embedded_postgres, log
from abaxus_core.kernel.embedded_postgres import Server


@contextmanager
def durable(settings: Mapping[str, str]) -> Iterator[Server]:
    """A server with these settings beside those that make it durable; gone on the way out."""
    log.configure("warning", "json")
    home = Path(mkdtemp(prefix="abaxus-bench-"))
    home.chmod(0o755)
    try:
        with embedded_postgres.running(
            home / "postgres", profile=embedded_postgres.DURABLE, settings=settings
        ) as server:
            yield server
    finally:
        rmtree(home, ignore_errors=True)
