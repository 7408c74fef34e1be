"""Identity and fingerprints of events: event keys and ids, payload hashes, digests of sets.

All are functions of what the caller sent, so that any replica gives the same answer, for ever.
The digest of a set of events is the sum of their payload hashes, blind to order; the database sums.
"""

from hashlib import sha256
from struct import Struct
from typing import Final

KEY_BYTES: Final = 12
_DIGEST_MODULUS: Final = 2**64
_ID_DIGITS: Final = 25
_first_eight_bytes = Struct(">q").unpack_from


def event_digest(customer_id: str, idempotency_key: str) -> bytes:
    """Return the SHA-256 that an event's key and id are cut from.

    A customer id holds no NUL, so the two cannot run into each other.
    """
    return sha256(f"{customer_id}\0{idempotency_key}".encode()).digest()


def event_key(digest: bytes) -> bytes:
    """Return what an event is unique by within its customer: 96 bits of its digest."""
    return digest[:KEY_BYTES]


def event_id(digest: bytes) -> str:
    """Return the id that callers see: `evt_` and 100 bits of the digest in the form of a ULID.

    Hexadecimal digits are among those of a ULID, whose first one must be below 8.

    >>> event_id(bytes(32))
    'evt_00000000000000000000000000'
    """
    return "evt_0" + digest.hex()[:_ID_DIGITS]


def payload_hash(
    key: bytes,
    metric_no: int,
    occurred_us: int,
    value: str,
    subscription_id: str | None,
    properties: str | None,
) -> int:
    """Return a signed 64-bit fingerprint of everything the caller sent, however it was spelt.

    `value` is in plain notation and `properties` JSON with its names in order: 1.0 and 1 are the
    same value, 12:00Z and 14:00+02:00 the same instant. No text holds a NUL.
    """
    payload = f"{metric_no}\0{occurred_us}\0{value}\0{subscription_id or ''}\0{properties or ''}"
    (number,) = _first_eight_bytes(sha256(key + payload.encode()).digest())
    return int(number)


def digest_text(digest: int) -> str:
    """Return a digest as the API shows it: 16 hexadecimal digits of the sum modulo 2^64.

    >>> digest_text(-1)
    'ffffffffffffffff'
    """
    return f"{digest % _DIGEST_MODULUS:016x}"
