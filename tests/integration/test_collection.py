"""Charging and mailing through the worker as it runs: jobs, schedules, real time."""

import asyncio

from abaxus_core.kernel.clock import system_clock
from abaxus_core.kernel.queue_worker import QueueWorker, WorkerSettings
from abaxus_core.services import charging, mailing
from abaxus_core.services.work import perform
from abaxus_core.worker import handlers
from abaxus_plugins.outbox.sender import Outbox
from tests.support.collection import ACTOR, actions_of, invoice_of, make_context, make_invoice
from tests.support.waiting import eventually


async def test_the_worker_settles_a_lost_charge_and_delivers_the_mail(live, tmp_path):
    context = make_context(live, system_clock, sender=Outbox(tmp_path))
    invoice_id = await make_invoice(live, system_clock(), method="pm_timeout")
    stop = asyncio.Event()
    worker = QueueWorker(
        live,
        handlers.of(context),
        settings=WorkerSettings(concurrency=2),
        schedules=handlers.SCHEDULES,
    )
    running = asyncio.create_task(worker.run(stop))

    await perform(context, ACTOR, lambda work: mailing.send(context, work, invoice_id))
    assert not (await charging.charge(context, ACTOR, invoice_id)).settled

    async def is_paid():
        return (await invoice_of(context, invoice_id)).status == "paid"

    async def is_sent():
        return "invoice.sent" in await actions_of(context, invoice_id)

    await eventually(is_paid)
    await eventually(is_sent)
    stop.set()
    await running
    assert len(list(tmp_path.glob("*.eml"))) == 1
