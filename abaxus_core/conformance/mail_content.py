"""What a delivery says, whatever its wrapping: JSON, a form or MIME, one inside the other.

`leaves` are the texts at the ends, `paths` the names that lead to them: `from.email`,
`content[].value`, `Headers[].Name`; of MIME, `mime:` and the name of a header, `mime:body`, and
`mime:filename` and `mime:attachment` (its base64) of each attachment.
"""

import base64
import binascii
import email
import email.policy
from collections.abc import Iterator
from email.message import MIMEPart
from typing import Final

import msgspec

FORM: Final = "multipart/form-data"


class Leaf(msgspec.Struct, frozen=True):
    path: str
    text: str


def leaves(media_type: str, body: bytes) -> list[Leaf]:
    """Every text in `body`. Raises ValueError for a media type that has no reader here."""
    kind = media_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return list(_of_json("", msgspec.json.decode(body)))
    if kind == FORM:
        return list(_of_form(media_type, body))
    if kind == "message/rfc822":
        return list(_of_mime(body))
    raise ValueError(f"no reader for {kind!r}")


def _of_json(path: str, value: object) -> Iterator[Leaf]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _of_json(f"{path}.{name}".lstrip("."), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_json(f"{path}[]", inner)
    else:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield Leaf(path, text)
        yield from _of_encoded_mime(text)


def _of_encoded_mime(text: str) -> Iterator[Leaf]:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    if b"\r\nMIME-Version: " in content:
        yield from _of_mime(content)


def _of_form(media_type: str, body: bytes) -> Iterator[Leaf]:
    head = f"Content-Type: {media_type}\r\n\r\n".encode()
    form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    for part in form.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        if part.get_content_type() == "message/rfc822":
            yield Leaf(name, "")
            yield from _of_mime(_inner(part))
        else:
            yield Leaf(name, str(part.get_content()).rstrip("\r\n"))


def _inner(part: MIMEPart) -> bytes:
    (message,) = part.iter_parts()
    return message.as_bytes(policy=email.policy.SMTP)


def _of_mime(content: bytes) -> Iterator[Leaf]:
    message = email.message_from_bytes(content, policy=email.policy.default)
    for name, value in message.items():
        yield Leaf(f"mime:{name.lower()}", str(value))
    for part in message.walk():
        if part.get_filename() is not None:
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            yield Leaf("mime:filename", str(part.get_filename()))
            yield Leaf("mime:attachment", base64.b64encode(payload).decode())
        elif part.get_content_maintype() == "text":
            yield Leaf("mime:body", str(part.get_content()))
