"""A name for each request, in the answer, in its errors and in every line logged on its behalf."""

import re
import secrets

RANDOM_BYTES = 12

_SANE = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def request_id(shown: str) -> str:
    """The caller's own X-Request-Id where it is sane, else a new one."""
    return shown if _SANE.fullmatch(shown) else f"req_{secrets.token_hex(RANDOM_BYTES)}"
