"""As whom an embedded PostgreSQL runs: as us, or as nobody when we are root, whom it refuses.

Who starts it as root must give away what it reads and writes, and find folders it can get to.
"""

import hashlib
import os
import pwd
import stat
from pathlib import Path
from typing import Any

from abaxus_core.errors import ConfigurationError
from abaxus_core.kernel.postgres_binaries import copy_of

UNPRIVILEGED_UID = 65534
UNREACHABLE_HOME = Path("/var/lib/abaxus")


def identity() -> dict[str, Any]:
    """The arguments by which `subprocess` starts a child as the server's user."""
    if not _is_root():
        return {}
    try:
        group = pwd.getpwuid(UNPRIVILEGED_UID).pw_gid
    except KeyError:
        raise ConfigurationError(
            [f"PostgreSQL refuses to run as root and there is no user {UNPRIVILEGED_UID} (nobody)"]
        ) from None
    return {"user": UNPRIVILEGED_UID, "group": group, "extra_groups": [], "cwd": "/"}


def reachable_home(home: Path) -> Path:
    """`home`, or a stand-in under UNREACHABLE_HOME where the server's user could not get to it."""
    home = home.resolve()
    if not _is_root() or all(_anyone_may_pass(parent) for parent in home.parents):
        return home
    return UNREACHABLE_HOME / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


def readable(bin_dir: Path, home: Path) -> Path:
    """`bin_dir`, or a copy in `home` where the server's user cannot read the original."""
    if not _is_root() or all(_anyone_may_pass(parent) for parent in (bin_dir, *bin_dir.parents)):
        return bin_dir
    return copy_of(bin_dir, home)


def give(home: Path) -> None:
    """Make the folder the server's, and nobody else's."""
    home.chmod(0o700)
    if _is_root():
        os.chown(home, UNPRIVILEGED_UID, -1)


def write_private(path: Path, text: str) -> None:
    """Write a file that the server's user alone may read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    if _is_root():
        os.chown(path, UNPRIVILEGED_UID, -1)


def _is_root() -> bool:
    return os.geteuid() == 0


def _anyone_may_pass(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return bool(folder.stat().st_mode & stat.S_IXOTH)
