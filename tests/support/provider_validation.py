"""Whether a provider would take a request: by our own schemas of what we send, always, and by the
published documents where a developer has them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.support.providers import SPECS

OURS = Path(__file__).parent / "provider_schemas"
PUBLISHED = {
    "stripe": ("stripe-2026-10-28.endive", "stripe-official-2023-08-16"),
    "adyen": ("adyen-checkout-v72",),
    "mollie": (),
}
# Of a Stripe document, whose form parameters are all texts on the wire.
_BRACKETS = re.compile(r"^([a-z_]+)(?:\[([a-z_]*)\])?$")


@cache
def schemas(provider: str) -> Mapping[str, dict[str, Any]]:
    """Our own schemas by `POST /path/{id}`."""
    found: Mapping[str, dict[str, Any]] = json.loads((OURS / f"{provider}.json").read_text())
    return found


def route(provider: str, method: str, path: str) -> str | None:
    """Which of our schemas a request falls under."""
    for known in schemas(provider):
        verb, _, pattern = known.partition(" ")
        if verb == method and re.fullmatch(re.sub(r"\{id\}", r"[A-Za-z0-9_]+", pattern), path):
            return known
    return None


def complaints(provider: str, known: str, said: object) -> list[str]:
    """What is wrong with what a request says."""
    found = [f"ours: {error.message}" for error in _ours(provider, known).iter_errors(said)]
    for document in PUBLISHED[provider]:
        validator = _published(provider, document, known)
        if validator is not None:
            found += [f"{document}: {error.message}" for error in validator.iter_errors(said)]
    return found


def unflattened(fields: list[tuple[str, str]], schema: Mapping[str, Any]) -> dict[str, object]:
    """What the fields of a form say: `a[]` a list, `a[b]` an object, numbers as in `schema`."""
    said: dict[str, Any] = {}
    for name, text in fields:
        found = _BRACKETS.match(name)
        if found is None or (name in said and not name.endswith("[]")):
            raise ValueError(f"{name!r} is no field, or there twice")
        root, inner = found.groups()
        known = schema.get("properties", {}).get(root, {})
        if inner is None:
            said[root] = _typed(text, known)
        elif inner == "":
            said.setdefault(root, []).append(text)
        else:
            of_inner = known.get("properties", {}).get(inner, {})
            said.setdefault(root, {})[inner] = _typed(text, of_inner)
    return said


def leaves(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The fields that a schema of ours lets through, dotted."""
    inner = schema.get("properties")
    if inner is None:
        yield path
        return
    for name, one in inner.items():
        target = schema.get("definitions", {}).get(str(one.get("$ref", "")).split("/")[-1], one)
        yield from leaves(target, f"{path}.{name}".lstrip("."))


def _typed(text: str, schema: Mapping[str, Any]) -> object:
    if schema.get("type") == "integer" and text.isdigit():
        return int(text)
    if schema.get("const") in (True, False) and text in ("true", "false"):
        return text == "true"
    return text


@cache
def _ours(provider: str, known: str) -> Draft202012Validator:
    return Draft202012Validator(schemas(provider)[known])


@cache
def _published(provider: str, document: str, known: str) -> Draft202012Validator | None:
    """The validator of a request's body; None where the document is not here or has no body."""
    file = SPECS / f"{document}.openapi.json"
    method, _, path = known.partition(" ")
    if not file.exists() or method == "GET":
        return None
    spec = json.loads(file.read_text())
    (there,) = (one for one in spec["paths"] if re.sub(r"\{\w+\}", "{id}", one) == path)
    content = spec["paths"][there]["post"]["requestBody"]["content"]
    (kind,) = content
    registry = Registry().with_resource("urn:spec", DRAFT202012.create_resource(spec))
    pointer = [*("paths", there, "post", "requestBody", "content", kind), "schema"]
    escaped = "/".join(part.replace("~", "~0").replace("/", "~1") for part in pointer)
    return Draft202012Validator({"$ref": f"urn:spec#/{escaped}"}, registry=registry)
