"""Identity and fingerprints of events: event keys and ids, payload hashes, digests of sets.

All are functions of what the caller sent, so that any replica gives the same answer, for ever.
The digest of a set of events is the sum of their payload hashes, blind to order; the database sums.
"""

from base64 import b32encode
from datetime import UTC
from hashlib import sha256
from uuid import UUID

import msgspec

from abaxus_core.domain.decimals import plain
from abaxus_core.domain.events import Event

_KEY_BYTES = 16
_HASH_BYTES = 8
_DIGEST_MODULUS = 2**64

_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_TO_CROCKFORD = str.maketrans(_RFC4648, _CROCKFORD)


def event_key(customer_id: str, idempotency_key: str) -> UUID:
    """Return what an event is unique by: 16 bytes of SHA-256 over customer and key.

    A customer id holds no NUL, so the two cannot run into each other.
    """
    digest = sha256(f"{customer_id}\0{idempotency_key}".encode()).digest()
    return UUID(bytes=digest[:_KEY_BYTES])


def event_id(key: UUID) -> str:
    """Return the id that callers see: `evt_` and the key in ULID form, lower case.

    >>> event_id(UUID(int=1))
    'evt_00000000000000000000000001'
    """
    # A ULID's 26 characters hold 130 bits: two zero bits lead. Base 32 wants whole 40-bit groups.
    padded = b32encode(key.int.to_bytes(20, "big")).decode("ascii")
    return "evt_" + padded[-26:].translate(_TO_CROCKFORD)


def payload_hash(event: Event) -> int:
    """Return a signed 64-bit fingerprint of everything the caller sent, however it was spelt.

    1.0 and 1 are the same value, 12:00Z and 14:00+02:00 the same instant, and the order of
    properties does not count.
    """
    canonical = msgspec.json.encode(
        [
            event.customer_id,
            event.idempotency_key,
            event.metric_key,
            plain(event.value),
            event.timestamp.astimezone(UTC),
            event.properties or {},
            event.subscription_id,
        ],
        order="sorted",
    )
    return int.from_bytes(sha256(canonical).digest()[:_HASH_BYTES], "big", signed=True)


def digest_text(digest: int) -> str:
    """Return a digest as the API shows it: 16 hexadecimal digits of the sum modulo 2^64.

    >>> digest_text(-1)
    'ffffffffffffffff'
    """
    return f"{digest % _DIGEST_MODULUS:016x}"
