"""A name for each request, in the answer, in its errors and in every line logged on its behalf."""

import random
import re

RANDOM_BITS = 96

_SANE = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def request_id(shown: str | None) -> str:
    """The caller's own X-Request-Id where it is sane, else a new one: no secret, only unlikely."""
    if shown is not None and _SANE.fullmatch(shown):
        return shown
    return f"req_{random.getrandbits(RANDOM_BITS):024x}"
