"""A process that delivers a mail to an SMTP server, to be killed while the server holds its answer.

python -m tests.fault.mailing_process DSN EMAIL_ID PORT
"""

import sys

from abaxus_core.kernel import event_loop, plugin_manager
from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.database import open_databases
from abaxus_core.services import mailing
from tests.support.collection import make_context
from tests.support.mail_server import smtp_to
from tests.support.postgres import SETTINGS


async def main(dsn: str, email_id: str, port: str) -> None:
    async with (
        open_databases(dsn, SETTINGS) as databases,
        plugin_manager.opened(smtp_to(int(port))) as opened,
    ):
        sender = opened.email_senders["smtp"]
        context = make_context(databases.live, system_clock, sender=sender)
        await mailing.deliver(context, email_id)


if __name__ == "__main__":
    event_loop.run(main(*sys.argv[1:]))
