"""Bodies off the wire: of JSON only, unpacked, and never more than the operator allows."""

import asyncio
import zlib
from collections.abc import Mapping

from abaxus_core.errors import BodyTooLarge, MalformedBody, UnsupportedMedia
from abaxus_core.http.answers import Receive

# A refused body is read on for a while: a sender that is cut off may never see the answer.
DISCARDED_MAX = 10 << 20
DISCARD_TIMEOUT_S = 30
_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_CHARSETS = ("", "utf-8", "utf8", "us-ascii")


async def read_body(headers: Mapping[str, str], receive: Receive, size_max: int) -> bytes:
    """The whole body, unpacked; empty when there is none.

    Raises UnsupportedMedia for what is not JSON or packed otherwise than by gzip, BodyTooLarge
    beyond `size_max` bytes, sent or unpacked, and MalformedBody for what does not unpack or arrive
    in full. How long it may take to arrive is the edge's to bound.
    """
    unpacker = _Unpacker(headers.get("content-encoding", ""), size_max)
    more = True
    try:
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > size_max:
            raise _too_large(size_max)
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise MalformedBody("the body did not arrive in full")
            more = message.get("more_body", False)
            unpacker.feed(message.get("body", b""))
    except BodyTooLarge:
        if more:
            await _discard(receive)
        raise
    body = unpacker.finish()
    if body:
        _check_type(headers.get("content-type", ""))
    return body


class _Unpacker:
    """Collects chunks, unpacking gzip as it comes, within `size_max` bytes at every moment."""

    def __init__(self, encoding: str, size_max: int) -> None:
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise UnsupportedMedia(f"content encoding {encoding[:40]!r} is not read; gzip is")
        self._gzip = zlib.decompressobj(_GZIP_WINDOW_BITS) if "gzip" in encoding else None
        self._size_max = size_max
        self._body = bytearray()
        self._sent = 0

    def feed(self, chunk: bytes) -> None:
        self._sent += len(chunk)
        if self._gzip is not None and chunk:
            chunk = self._unpack(chunk)
        self._body += chunk
        if max(len(self._body), self._sent) > self._size_max:
            raise _too_large(self._size_max)

    def finish(self) -> bytes:
        if self._gzip is not None and self._sent and not self._gzip.eof:
            raise MalformedBody("the gzip body ends too early")
        return bytes(self._body)

    def _unpack(self, chunk: bytes) -> bytes:
        assert self._gzip is not None, "asked for only where the body is packed"
        if self._gzip.eof:
            raise MalformedBody("something follows the gzip body")
        room = self._size_max + 1 - len(self._body)
        try:
            unpacked = self._gzip.decompress(chunk, room)
        except zlib.error as error:
            raise MalformedBody("the body is not gzip, as its content encoding says") from error
        if self._gzip.unused_data:
            raise MalformedBody("something follows the gzip body")
        return unpacked


def media_type_of(content_type: str) -> str:
    """The media type that a Content-Type header says, without parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether a content type is JSON's, or of a kind of JSON."""
    media_type = media_type_of(content_type)
    return media_type == "application/json" or media_type.endswith("+json")


def _check_type(content_type: str) -> None:
    media_type = media_type_of(content_type)
    if media_type and not is_json(media_type):
        raise UnsupportedMedia(
            f"content type {media_type[:80]!r} is not read; send application/json"
        )
    parameters = content_type.lower().partition(";")[2]
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    if charset not in _CHARSETS:
        raise UnsupportedMedia(f"charset {charset[:40]!r} is not read; send UTF-8")


async def _discard(receive: Receive) -> None:
    discarded = 0
    try:
        async with asyncio.timeout(DISCARD_TIMEOUT_S):
            while discarded <= DISCARDED_MAX:
                message = await receive()
                discarded += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _too_large(size_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {size_max} bytes, unpacked")
