"""Which route a path means."""

import pytest

from abaxus_core.http.router import Router

ROUTES = [
    ("GET", "/v1/invoices", "list"),
    ("POST", "/v1/invoices", "create"),
    ("POST", "/v1/invoices/bulk", "bulk"),
    ("GET", "/v1/invoices/{id}", "get"),
    ("POST", "/v1/invoices/{id}/send", "send"),
    ("GET", "/v1/plans/{id}/versions/{n}", "version"),
]


@pytest.mark.parametrize(
    ("path", "methods", "found"),
    [
        ("/v1/invoices", {"GET": "list", "POST": "create"}, {}),
        ("/v1/invoices/bulk", {"POST": "bulk"}, {}),
        ("/v1/invoices/inv_1", {"GET": "get"}, {"id": "inv_1"}),
        ("/v1/invoices/inv_1/send", {"POST": "send"}, {"id": "inv_1"}),
        ("/v1/plans/p/versions/2", {"GET": "version"}, {"id": "p", "n": "2"}),
    ],
)
def test_a_path_finds_its_route(path: str, methods: object, found: object) -> None:
    match = Router(ROUTES).match(path)
    assert match is not None
    assert match.methods == methods
    assert match.path == found


@pytest.mark.parametrize(
    "path",
    ["/", "", "*", "/v1", "/v1/invoices/", "/v1/invoices/a/b", "/v2/invoices", "//v1/invoices"],
)
def test_other_paths_find_none(path: str) -> None:
    assert Router(ROUTES).match(path) is None


def test_one_route_stands_once() -> None:
    with pytest.raises(AssertionError):
        Router([*ROUTES, ("GET", "/v1/invoices/{id}", "again")])
