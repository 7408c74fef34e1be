"""Runs a command in a network namespace of its own, in which there is nothing but loopback.

    [*alone.PREFIX, "abaxus", "dev", "--demo"]

Run as a program, it brings the namespace's loopback up and becomes the command.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

_AS_US = () if os.getuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
PREFIX = ("unshare", "--net", *_AS_US, sys.executable, __file__)

_SIOCSIFFLAGS = 0x8914
_UP = 0x1


def refusal() -> str | None:
    """Why this machine gives no such namespace; None where it does."""
    try:
        tried = subprocess.run([*PREFIX, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no command unshare (util-linux)"
    return None if tried.returncode == 0 else tried.stderr.strip() or f"exit {tried.returncode}"


def astray(pid: int) -> int:
    """How often anything in the process's namespace, Python or not, sent or connected to where no
    route leads: the kernel's own count.
    """
    snmp = Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
    names, counts = (line.split() for line in snmp if line.startswith("Ip: "))
    of_ipv4 = int(dict(zip(names, counts, strict=True))["OutNoRoutes"])
    snmp6 = Path(f"/proc/{pid}/net/snmp6")
    lines = snmp6.read_text().splitlines() if snmp6.exists() else []
    return of_ipv4 + sum(int(line.split()[1]) for line in lines if "Ip6OutNoRoutes" in line)


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))


if __name__ == "__main__":
    _bring_loopback_up()
    os.execvp(sys.argv[1], sys.argv[1:])
