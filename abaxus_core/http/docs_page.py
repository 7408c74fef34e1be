"""The API for people: /openapi.json, and /docs, the same as a page that loads nothing from afar."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from abaxus_core.http.answers import JSON, Answer
from abaxus_core.http.endpoint import Call, Endpoint, Handler
from abaxus_core.http.openapi import document

HTML = b"text/html; charset=utf-8"
CSS = b"text/css; charset=utf-8"
_POLICY = (
    (b"content-security-policy", b"default-src 'self'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_PAGES = Path(__file__).parent / "pages"


def endpoints(documented: Sequence[Endpoint]) -> Sequence[Endpoint]:
    """The routes that describe `documented`; what they answer is made once, here."""
    described = document(documented)
    style = (_PAGES / "docs.css").read_bytes()
    return (
        _page("/openapi.json", msgspec.json.encode(described), JSON, "This API, as OpenAPI 3.1"),
        _page("/docs", _rendered(described), HTML, "This API, as a page"),
        _page("/docs/style.css", style, CSS, "The looks of the page"),
    )


def _page(path: str, body: bytes, media_type: bytes, summary: str) -> Endpoint:
    given = Answer(200, body, media_type, _POLICY)

    async def handler(_call: Call[None, None]) -> Answer:
        return given

    answering: Handler = handler
    return Endpoint(
        method="GET",
        path=path,
        handler=answering,
        scope=None,
        summary=summary,
        tag="documentation",
        answers={200: None},
        media_type=media_type.decode(),
    )


def _rendered(described: Any) -> bytes:
    pages = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    pages.filters["kind"] = _kind
    template = pages.from_string((_PAGES / "docs.html").read_text(encoding="utf-8"))
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            shown = {"path": path, "method": method.upper(), **operation}
            by_tag.setdefault(operation["tags"][0], []).append(shown)
    return template.render(api=described, by_tag=by_tag).encode()


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words: `array of Tier`, `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(member) for member in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_kind(schema['items'])}"
    return str(schema.get("format") or schema.get("type", "any"))
