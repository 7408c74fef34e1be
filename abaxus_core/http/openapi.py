"""The OpenAPI 3.1 document, made of the table of endpoints and the very Structs that decode."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from abaxus_core import __version__
from abaxus_core.http.dispatch import IDEMPOTENCY_KEY_LENGTH_MAX, KeyOnly, needs_body
from abaxus_core.http.endpoint import Endpoint
from abaxus_core.http.error_codes import status_of_code
from abaxus_core.http.errors import ErrorAnswer
from abaxus_core.http.schemas import Schema, Schemas
from abaxus_core.services.api_keys import scope_for

DESCRIPTION = (
    "Usage events to paid, mailed invoices. Quantities and unit prices are decimal strings, money"
    " totals are integers in the currency's minor unit, instants are RFC 3339 in UTC, intervals"
    " are half-open. Every error has the form of `ErrorAnswer`; its codes are in docs/errors.md."
)
_EVERYWHERE = ("VALIDATION_FAILED", "UNKNOWN_FIELD", "NOT_READY", "INTERNAL")
_WITH_KEY = ("UNAUTHENTICATED", "FORBIDDEN_SCOPE", "RATE_LIMITED")
_WITH_BODY = ("MALFORMED_JSON", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")
_REPEATABLE = ("IDEMPOTENCY_KEY_REUSED", "REQUEST_IN_PROGRESS")
_BRACES = re.compile(r"\{(\w+)\}")
_SUCCESS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No content", 207: "Multi-status"}
_ERRORS = {
    400: "Not JSON",
    401: "No key, or one that is not known",
    402: "Declined",
    403: "The key's scopes do not cover this",
    404: "Not found",
    409: "Conflict, or the wrong state",
    413: "Too large",
    415: "Not a media type that is read",
    422: "Does not validate",
    429: "Too many requests",
    500: "A fault of ours",
    502: "The provider is unavailable; nothing was sent",
    503: "Not ready",
}


def document(endpoints: Sequence[Endpoint]) -> Mapping[str, Any]:
    """The whole document, ready for JSON."""
    schemas = Schemas()
    schemas.of(ErrorAnswer, "out")
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for endpoint in endpoints:
        paths[endpoint.path][endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ABAXUS", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in endpoints)],
        "paths": dict(paths),
        "components": {
            "schemas": schemas.components,
            "headers": _HEADERS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def codes_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Every code that the endpoint can answer with, its own first."""
    codes = [*endpoint.errors, *_EVERYWHERE]
    if endpoint.scope is not None:
        codes += _WITH_KEY
    if _takes_body(endpoint):
        codes += _WITH_BODY
        codes += _REPEATABLE if endpoint.keeps_answers else ()
    return tuple(dict.fromkeys(codes))


def _operation(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    answers = {
        str(status): _success(endpoint, status, wire_type, schemas)
        for status, wire_type in endpoint.answers.items()
    }
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint, schemas)],
        "responses": answers | _refusals(codes_of(endpoint)),
    }
    if endpoint.scope is not None:
        operation["security"] = [{"key": []}]
        operation["description"] = f"Needs a key with the scope `{scope_for(endpoint.scope)}`."
    if _takes_body(endpoint):
        operation["requestBody"] = _request_body(endpoint, schemas)
        if endpoint.keeps_answers:
            operation["parameters"].append(_IDEMPOTENCY_KEY)
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    """GET /v1/metrics/{key} → get_metrics_key."""
    words = re.sub(r"[^a-z0-9]+", "_", endpoint.path.removeprefix("/v1").lower()).strip("_")
    return f"{endpoint.method.lower()}_{words}"


def _takes_body(endpoint: Endpoint) -> bool:
    return endpoint.method in ("POST", "PATCH")


def _path_parameters(endpoint: Endpoint) -> Iterable[dict[str, Any]]:
    for name in _BRACES.findall(endpoint.path):
        schema: Schema = {"type": "string", "minLength": 1}
        if name == "n":
            schema = {"type": "integer", "minimum": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(endpoint: Endpoint, schemas: Schemas) -> Iterable[dict[str, Any]]:
    if endpoint.query is None:
        return
    for field, schema in schemas.fields(endpoint.query):
        given = [each for each in schema.get("anyOf", [schema]) if each != {"type": "null"}]
        yield {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": given[0] if len(given) == 1 else {"anyOf": given},
        }


def _request_body(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    wire_type = endpoint.body or KeyOnly
    content: dict[str, Any] = {"schema": schemas.of(wire_type, "in")}
    if endpoint.example is not None:
        content["example"] = msgspec.to_builtins(endpoint.example)
    others = {
        name: {"schema": schemas.of(form.body, "in")} for name, form in endpoint.forms.items()
    }
    return {
        "required": needs_body(wire_type),
        "content": {"application/json": content} | others,
    }


def _success(endpoint: Endpoint, status: int, wire_type: Any, schemas: Schemas) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _SUCCESS.get(status, "Success")}
    answer["headers"] = _header_names(endpoint)
    if wire_type is not None:
        answer["content"] = {endpoint.media_type: {"schema": schemas.of(wire_type, "out")}}
    elif endpoint.media_type != "application/json":
        answer["content"] = {endpoint.media_type: {"schema": {"type": "string"}}}
    return answer


def _refusals(codes: Iterable[str]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[status_of_code(code)].append(code)
    return {str(status): _refusal(status, by_status[status]) for status in sorted(by_status)}


def _refusal(status: int, codes: list[str]) -> dict[str, Any]:
    error = {"properties": {"code": {"enum": codes}}}
    schema = {
        "allOf": [
            {"$ref": "#/components/schemas/ErrorAnswer"},
            {"properties": {"error": error}},
        ]
    }
    headers = ["X-Request-Id"]
    if status in (429, 502, 503):
        headers.append("Retry-After")
    return {
        "description": f"{_ERRORS[status]}: {', '.join(codes)}",
        "headers": {name: _reference(name) for name in headers},
        "content": {"application/json": {"schema": schema}},
    }


def _header_names(endpoint: Endpoint) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if endpoint.scope is not None:
        names += ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
    if _takes_body(endpoint) and endpoint.keeps_answers:
        names.append("Idempotent-Replay")
    return {name: _reference(name) for name in names}


def _reference(header: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{header}"}


def _header(description: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "schema": schema}


_HEADERS: Mapping[str, Any] = {
    "X-Request-Id": _header("Names this request in logs and errors.", {"type": "string"}),
    "X-RateLimit-Limit": _header("Requests a minute for this key.", {"type": "integer"}),
    "X-RateLimit-Remaining": _header("What is left of them.", {"type": "integer"}),
    "X-RateLimit-Reset": _header("Seconds until they start afresh.", {"type": "integer"}),
    "Retry-After": _header("Seconds after which to ask again.", {"type": "integer"}),
    "Idempotent-Replay": _header(
        "`true` where the answer was given before and is given again.", {"const": "true"}
    ),
}
_IDEMPOTENCY_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key again gives the same answer; one in the body goes first.",
    "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX},
}
