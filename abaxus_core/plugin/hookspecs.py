"""The two hooks of ABAXUS. They register; all work is done by the objects behind the descriptors.

A plugin is a module, named in its distribution's entry points under the group `abaxus`, that
implements one or both:

    from abaxus_core.plugin.hookspecs import hookimpl

    @hookimpl
    def register_payment_providers():
        return [PaymentProviderDescriptor(name="acme", contract=1, ...)]
"""

from collections.abc import Sequence
from typing import Final

import pluggy

from abaxus_core.plugin.email import EmailSenderDescriptor
from abaxus_core.plugin.payments import PaymentProviderDescriptor

PROJECT: Final = "abaxus"
ENTRY_POINT_GROUP: Final = "abaxus"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_payment_providers() -> Sequence[PaymentProviderDescriptor]:
    """The payment providers this plugin brings.

    Called once, synchronously, at the start of every process, before settings are read; it must
    do no I/O and must not fail for want of configuration. Since contract 1.
    """
    raise NotImplementedError


@hookspec
def register_email_senders() -> Sequence[EmailSenderDescriptor]:
    """The email senders this plugin brings; called as `register_payment_providers`.

    Since contract 1.
    """
    raise NotImplementedError
