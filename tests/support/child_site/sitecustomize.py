"""Imported by every Python process that has this folder on its PYTHONPATH: it notes whom the
process looks up and connects to, and, where a test says so, leads names to servers here.

    ABAXUS_TEST_ATTEMPTS  the file that gets a line for each attempt: event, process, host
    ABAXUS_TEST_NAMES     a file of JSON, name → port: where the names lead, as by /etc/hosts
    ABAXUS_TEST_CA        certificates to trust in place of the usual ones

The process is as it is in production: it looks up the real name, and speaks TLS to it. Only its
event loop is asyncio's own: uvloop connects in C, which Python's audit does not hear of.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

_ADDRESS = "127.77.0.{}"  # of a name that is led here; nobody listens on any of them
_TARGETS = {
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
}


def note_attempts(path):
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def audit(event, arguments):
        if event in _TARGETS:
            target = arguments[_TARGETS[event]]
            host = target[0] if isinstance(target, tuple) else target
            name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
            os.write(file, f"{event}\t{os.getpid()}\t{name}\n".encode())

    sys.addaudithook(audit)
    sys.modules["uvloop"] = asyncio


def lead_here(ports):
    look_up, connect = socket.getaddrinfo, socket.socket.connect
    addresses = {name: _ADDRESS.format(number) for number, name in enumerate(ports, start=1)}
    names = {address: name for name, address in addresses.items()}

    def led_look_up(host, *arguments, **options):
        name = host.decode() if isinstance(host, bytes) else host
        sys.audit("socket.getaddrinfo", name)
        return look_up(addresses.get(name, host), *arguments, **options)

    def led_connect(self, address):
        name = names.get(address[0]) if isinstance(address, tuple) else None
        return connect(self, ("127.0.0.1", ports[name]) if name else address)

    socket.getaddrinfo = led_look_up
    socket.socket.connect = led_connect


def trust(path):
    import certifi

    certifi.where = lambda: path


if "ABAXUS_TEST_ATTEMPTS" in os.environ:
    note_attempts(os.environ["ABAXUS_TEST_ATTEMPTS"])
if "ABAXUS_TEST_NAMES" in os.environ:
    lead_here(json.loads(Path(os.environ["ABAXUS_TEST_NAMES"]).read_text()))
if "ABAXUS_TEST_CA" in os.environ:
    trust(os.environ["ABAXUS_TEST_CA"])
