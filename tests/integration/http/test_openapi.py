"""The description is true to the routes and loads nothing from afar."""

import re

import jsonschema
import msgspec
import pytest

from abaxus_core.http import codec
from abaxus_core.http.endpoint import Endpoint
from abaxus_core.http.error_codes import RAISED_AS, status_of_code
from abaxus_core.http.openapi import codes_of, document
from abaxus_core.http.routes import ENDPOINTS
from tests.support.api import Api


async def test_the_document_and_the_page_are_served(api: Api) -> None:
    anonymous = {"Authorization": ""}
    response = await api.client.get("/openapi.json", headers=anonymous)
    described = response.json()
    assert described["openapi"] == "3.1.0"
    assert {"/v1/metrics", "/v1/events", "/v1/api-keys", "/healthz"} <= set(described["paths"])
    page = await api.client.get("/docs", headers=anonymous)
    assert page.headers["content-security-policy"] == "default-src 'self'"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "/v1/metrics/{key}" in page.text
    for address in re.findall(r"(?:href|src)=\"([^\"#]+)", page.text):
        assert (await api.client.get(address, headers=anonymous)).status_code == 200, address
        assert address.startswith("/")
    assert "<script" not in page.text
    assert "style=" not in page.text


def test_every_reference_leads_somewhere() -> None:
    described = document(ENDPOINTS)
    text = msgspec.json.encode(described).decode()
    for name in re.findall(r"#/components/schemas/([^\"]+)", text):
        assert name in described["components"]["schemas"], name
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_an_endpoint_is_described_in_full(endpoint: Endpoint) -> None:
    assert endpoint.summary
    assert endpoint.answers
    assert set(codes_of(endpoint)) <= set(RAISED_AS)
    for wire_type in (endpoint.query, endpoint.body):
        if wire_type is not None:
            assert wire_type.__struct_config__.forbid_unknown_fields, wire_type
    if endpoint.example is not None:
        tree = dict(endpoint.example)
        codec.typed(endpoint.body, endpoint.rewrite(tree) if endpoint.rewrite else tree)


def test_operation_ids_are_unique() -> None:
    ids = [
        operation["operationId"]
        for operations in document(ENDPOINTS)["paths"].values()
        for operation in operations.values()
    ]
    assert len(ids) == len(set(ids))


def test_codes_have_the_status_of_their_class() -> None:
    assert status_of_code("METRIC_NOT_FOUND") == 404
    assert status_of_code("INVALID_STATE") == 409
    assert status_of_code("INTERNAL") == 500
