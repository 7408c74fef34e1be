"""Processes whose every attempt to reach anybody is noted (child_site/sitecustomize.py).

environ = child.environ(tmp_path, names={"api.stripe.com": fake_port}, ca_file=ca_file)
subprocess.run(command, env=environ)
assert child.elsewhere(tmp_path) == set()
"""

import ipaddress
import json
import os
from collections.abc import Mapping
from pathlib import Path

SITE = Path(__file__).parent / "child_site"
INHERITED = ("PATH", "HOME", "ASGI_SERVER")
_ATTEMPTS = "attempts"


def environ(
    folder: Path, *, names: Mapping[str, int] | None = None, ca_file: Path | None = None
) -> dict[str, str]:
    """The variables of such a process, nothing of ours configured; `names` lead to ports here."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    attempts = folder / _ATTEMPTS
    attempts.touch()
    attempts.chmod(0o666)
    variables = {"PYTHONPATH": str(SITE), "ABAXUS_TEST_ATTEMPTS": str(attempts)}
    if names:
        (folder / "names.json").write_text(json.dumps(names))
        variables["ABAXUS_TEST_NAMES"] = str(folder / "names.json")
    if ca_file:
        variables["ABAXUS_TEST_CA"] = str(ca_file)
    return {**kept, **variables}


def reached(folder: Path) -> set[str]:
    """Every host, address and path that the processes tried to reach."""
    lines = (folder / _ATTEMPTS).read_text().splitlines()
    return {line.split("\t", 2)[2] for line in lines}


def elsewhere(folder: Path) -> set[str]:
    """Those that are not on this machine."""
    return {host for host in reached(folder) if not _is_here(host)}


def _is_here(host: str) -> bool:
    if host in ("", "None", "localhost") or host.startswith(("/", "\0")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
