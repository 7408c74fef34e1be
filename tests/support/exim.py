"""Debian's exim4 as a real MTA: STARTTLS, AUTH after it, one mailbox that is a file.

It runs without privileges, as `nobody` when the tests run as root, out of a folder of its own.
"""

import mailbox
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import trustme

from tests.support.mail_server import PASSWORD, USERNAME
from tests.support.ports import free_port
from tests.support.waiting import eventually

NOBODY = 65534
CONFIGURATION = """
primary_hostname = mx.test.example
exim_user = {uid}
exim_group = {gid}
keep_environment =
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
deliver_drop_privilege = true
message_size_limit = 100K
tls_advertise_hosts = *
tls_certificate = {folder}/server.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = recipient
acl_smtp_data = accept

begin acl
recipient:
  deny    !authenticated = *
          message = authentication required
  deny    local_parts = unknown
          message = 5.1.1 no such mailbox
  defer   local_parts = greylisted
          message = 4.7.1 come back later
  accept  domains = customer.example
  deny    message = 5.7.1 relay not permitted

begin routers
here:
  driver = accept
  transport = file

begin transports
file:
  driver = appendfile
  file = {folder}/box

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{username}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


def exim_binary() -> str | None:
    return shutil.which("exim4") or shutil.which("exim4", path="/usr/sbin")


@dataclass(frozen=True)
class Exim:
    port: int
    folder: Path
    ca_file: Path

    def mails(self) -> list[Message]:
        box = self.folder / "box"
        if not box.exists():
            return []
        with closing(mailbox.mbox(box, create=False)) as mails:
            return list(mails)

    async def arrived(self, count: int) -> list[Message]:
        """The mailbox as soon as it has so many mails."""

        async def enough() -> bool:
            return len(self.mails()) >= count

        await eventually(enough)
        return self.mails()


@asynccontextmanager
async def exim() -> AsyncIterator[Exim]:
    """The daemon, until the block is left."""
    with tempfile.TemporaryDirectory(prefix="exim-") as name:
        server = _prepare(Path(name))
        with _daemon(server) as process:
            await eventually(_listening, process, server)
            yield server


@contextmanager
def _daemon(server: Exim) -> Iterator[subprocess.Popen]:
    binary = exim_binary()
    assert binary is not None
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    with (
        (server.folder / "stderr").open("wb") as stderr,
        subprocess.Popen(
            [binary, "-C", str(server.folder / "exim.conf"), "-bdf", "-q1h"],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            **as_nobody,
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _prepare(folder: Path) -> Exim:
    port = free_port()
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    (folder / "exim.conf").write_text(
        CONFIGURATION.format(
            folder=folder,
            port=port,
            username=USERNAME,
            password=PASSWORD,
            uid=os.getuid() or NOBODY,
            gid=os.getgid() or NOBODY,
        )
    )
    (folder / "spool").mkdir()
    (folder / "log").mkdir()
    if os.getuid() == 0:
        for path in [folder, *folder.iterdir()]:
            os.chown(path, NOBODY, NOBODY)
    return Exim(port, folder, folder / "ca.pem")


async def _listening(process: subprocess.Popen, server: Exim) -> bool:
    assert process.poll() is None, (server.folder / "stderr").read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0
