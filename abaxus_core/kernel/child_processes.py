"""Child processes that end with the process that started them, however that one ends."""

import ctypes
import sys
from collections.abc import Callable
from signal import Signals

_PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: Signals) -> Callable[[], None] | None:
    """A `preexec_fn` by which Linux sends the child `signal_number` when its parent is gone.

    None elsewhere. Linux means the thread that started the child: start it from the main thread.
    """
    if sys.platform != "linux":
        return None

    def ask_the_kernel() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)

    return ask_the_kernel
