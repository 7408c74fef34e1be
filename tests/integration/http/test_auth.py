"""Keys: which doors they open, in which mode, and for how long."""

import asyncio

import pytest

from tests.support.api import MINUTE_NS, Api, bearer, error_of


async def test_no_key_and_wrong_keys_are_refused_alike(api: Api) -> None:
    live = api.client.headers["authorization"]
    for header in (
        "",
        "Basic abc",
        "Bearer",
        "Bearer nonsense",
        "Bearer abx_live_" + "0" * 48,
        live.replace("abx_live_", "abx_test_"),
        live[:-1],
    ):
        response = await api.client.get("/v1/api-keys", headers={"Authorization": header})
        assert error_of(response) == (401, "UNAUTHENTICATED", None), header
        assert response.headers["www-authenticate"] == "Bearer"
        assert "x-ratelimit-limit" not in response.headers


@pytest.mark.parametrize(
    ("scope", "opens"),
    [
        ("admin", {"admin", "write", "read", "ingest", "entitlements"}),
        ("write", {"write", "read", "ingest", "entitlements"}),
        ("read", {"read", "entitlements"}),
        ("ingest", {"ingest"}),
        ("entitlements", {"entitlements"}),
    ],
)
async def test_a_scope_opens_what_it_covers(api: Api, scope: str, opens: set[str]) -> None:
    doors = {
        "admin": ("GET", "/v1/api-keys"),
        "write": ("POST", "/v1/metrics"),
        "read": ("GET", "/v1/metrics"),
        "ingest": ("POST", "/v1/events"),
        "entitlements": ("GET", "/v1/entitlements/check"),
    }
    headers = bearer(await api.key(scope))
    for needed, (method, path) in doors.items():
        response = await api.client.request(method, path, headers=headers, json={})
        refused = response.status_code == 403
        assert refused == (needed not in opens), (scope, needed, response.text)
        if refused:
            assert error_of(response) == (403, "FORBIDDEN_SCOPE", None)


async def test_a_revoked_key_ends_at_once(api: Api) -> None:
    key = await api.key("read")
    shown = (await api.client.get("/v1/api-keys")).json()["data"][0]
    assert (await api.client.get("/v1/metrics", headers=bearer(key))).status_code == 200
    revoked = await api.client.delete(f"/v1/api-keys/{shown['id']}")
    assert revoked.status_code == 200
    assert revoked.json()["revoked_at"] == "2026-05-10T12:00:00Z"
    assert (await api.client.get("/v1/metrics", headers=bearer(key))).status_code == 401
    again = await api.client.delete(f"/v1/api-keys/{shown['id']}")
    assert again.json() == revoked.json()


async def test_a_key_revoked_behind_our_back_ends_within_its_second(api: Api) -> None:
    key = await api.key("read")
    await asyncio.sleep(0)
    assert (await api.client.get("/v1/metrics", headers=bearer(key))).status_code == 200
    async with api.contexts["live"].database.connection() as conn:
        await conn.execute("UPDATE abaxus.api_keys SET revoked_at = now() WHERE scopes = '{read}'")
    api.monotonic.now_ns += MINUTE_NS
    assert (await api.client.get("/v1/metrics", headers=bearer(key))).status_code == 401


async def test_a_rotated_key_changes_its_secret_and_keeps_its_id(api: Api) -> None:
    made = await api.client.post("/v1/api-keys", json={"name": "back end", "scopes": ["read"]})
    assert made.status_code == 201
    old = made.json()["key"]
    assert old.startswith(made.json()["prefix"])
    rotated = await api.client.post(f"/v1/api-keys/{made.json()['id']}/rotate")
    assert rotated.status_code == 200
    assert rotated.json()["id"] == made.json()["id"]
    assert (await api.client.get("/v1/metrics", headers=bearer(old))).status_code == 401
    new = rotated.json()["key"]
    assert (await api.client.get("/v1/metrics", headers=bearer(new))).status_code == 200
    await api.client.delete(f"/v1/api-keys/{made.json()['id']}")
    refused = await api.client.post(f"/v1/api-keys/{made.json()['id']}/rotate")
    assert error_of(refused)[:2] == (409, "INVALID_STATE")


async def test_modes_do_not_see_each_other(api: Api) -> None:
    test_key = await api.key("admin", mode="test")
    headers = bearer(test_key)
    await api.client.post("/v1/metrics", json={"key": "calls", "aggregation": "sum"})
    assert (await api.client.get("/v1/metrics", headers=headers)).json()["data"] == []
    keys = (await api.client.get("/v1/api-keys", headers=headers)).json()["data"]
    assert [key["mode"] for key in keys] == ["test"]
    live_id = (await api.client.get("/v1/api-keys")).json()["data"][0]["id"]
    stranger = await api.client.delete(f"/v1/api-keys/{live_id}", headers=headers)
    assert error_of(stranger)[:2] == (404, "API_KEY_NOT_FOUND")
    made = await api.client.post(
        "/v1/api-keys", headers=headers, json={"name": "n", "scopes": ["read"]}
    )
    assert made.json()["key"].startswith("abx_test_")


async def test_secrets_are_kept_nowhere(api: Api) -> None:
    made = await api.client.post(
        "/v1/api-keys",
        json={"name": "n", "scopes": ["read", "read"], "idempotency_key": "once"},
    )
    again = await api.client.post(
        "/v1/api-keys",
        json={"name": "n", "scopes": ["read", "read"], "idempotency_key": "once"},
    )
    assert made.json()["scopes"] == ["read"]
    assert again.headers["idempotent-replay"] == "true"
    assert again.json() == made.json() | {"key": None}
    secret = made.json()["key"]
    async with api.contexts["live"].database.connection() as conn:
        for table in ("abaxus.api_keys", "idempotency_keys", "audit_log"):
            rows = await conn.fetch(f"SELECT t::text AS line FROM {table} t")
            assert not any(secret[20:] in row["line"] for row in rows), table
            assert not any(secret[20:].encode().hex() in row["line"] for row in rows), table


async def test_every_change_of_a_key_is_audited(api: Api) -> None:
    made = await api.client.post("/v1/api-keys", json={"name": "n", "scopes": ["read"]})
    await api.client.post(f"/v1/api-keys/{made.json()['id']}/rotate")
    await api.client.delete(f"/v1/api-keys/{made.json()['id']}")
    async with api.contexts["live"].database.connection() as conn:
        rows = await conn.fetch(
            "SELECT action, actor FROM audit_log WHERE object_id = $1 ORDER BY audit_no",
            made.json()["id"],
        )
    assert [row["action"] for row in rows] == [
        "api_key.created",
        "api_key.rotated",
        "api_key.revoked",
    ]
    assert all(row["actor"].startswith("key_") for row in rows)
