"""Asking twice: the same answer, one effect."""

import asyncio
from datetime import timedelta

import pytest

from abaxus_core.errors import (
    Conflict,
    IdempotencyMismatch,
    PaymentDeclined,
    ProviderUnavailable,
)
from abaxus_core.http.answers import Answer
from abaxus_core.http.endpoint import Call, Endpoint
from abaxus_core.services import idempotency
from abaxus_core.services.idempotency import LEASE, Reply, Request
from abaxus_core.services.work import Work, perform
from tests.support.api import Api, bearer, error_of, serving
from tests.support.clock import FakeClock
from tests.support.postgres import TestDatabases

METRIC = {"key": "calls", "aggregation": "sum"}


@pytest.mark.parametrize("where", ["body", "header"])
async def test_the_same_request_gets_the_same_answer(api: Api, where: str) -> None:
    headers = {"Idempotency-Key": "k1"} if where == "header" else {}
    body = METRIC | ({"idempotency_key": "k1"} if where == "body" else {})
    first = await api.client.post("/v1/metrics", json=body, headers=headers)
    assert first.status_code == 201
    assert "idempotent-replay" not in first.headers
    again = await api.client.post("/v1/metrics", json=body, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replay"] == "true"
    reordered = dict(reversed(body.items()))
    assert (
        await api.client.post("/v1/metrics", json=reordered, headers=headers)
    ).content == first.content


async def test_the_key_in_the_body_goes_first(api: Api) -> None:
    headers = {"Idempotency-Key": "header"}
    body = METRIC | {"idempotency_key": "body"}
    await api.client.post("/v1/metrics", json=body, headers=headers)
    other = {"key": "other", "aggregation": "sum"}
    assert (await api.client.post("/v1/metrics", json=other, headers=headers)).status_code == 201


async def test_a_key_is_for_one_request(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    await api.client.post("/v1/metrics", json=METRIC, headers=headers)
    other = await api.client.post("/v1/metrics", json=METRIC | {"name": "x"}, headers=headers)
    assert error_of(other) == (422, "IDEMPOTENCY_KEY_REUSED", "idempotency_key")
    elsewhere = await api.client.post("/v1/metrics/calls/deactivate", headers=headers)
    assert error_of(elsewhere) == (422, "IDEMPOTENCY_KEY_REUSED", "idempotency_key")


async def test_keys_of_different_callers_do_not_meet(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    await api.client.post("/v1/metrics", json=METRIC, headers=headers)
    stranger = headers | bearer(await api.key("write"))
    response = await api.client.post("/v1/metrics", json=METRIC, headers=stranger)
    assert error_of(response)[:2] == (409, "METRIC_KEY_DUPLICATE")


async def test_an_error_is_not_kept(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    wrong = await api.client.post("/v1/metrics/calls/deactivate", headers=headers)
    assert wrong.status_code == 404
    await api.client.post("/v1/metrics", json=METRIC)
    right = await api.client.post("/v1/metrics/calls/deactivate", headers=headers)
    assert right.status_code == 200
    assert "idempotent-replay" not in right.headers


@pytest.mark.parametrize("key", ["", "k" * 256, 5])
async def test_a_key_has_bounds(api: Api, key: object) -> None:
    response = await api.client.post("/v1/metrics", json=METRIC | {"idempotency_key": key})
    assert error_of(response) == (422, "VALIDATION_FAILED", "idempotency_key")
    if isinstance(key, str):
        response = await api.client.post(
            "/v1/metrics", json=METRIC, headers={"Idempotency-Key": key}
        )
        assert error_of(response) == (422, "VALIDATION_FAILED", "idempotency_key")


async def test_a_second_request_does_not_wait_for_the_first(api: Api) -> None:
    request = Request(key_id="key_1", idempotency_key="k1", request_hash=b"h")
    context = api.contexts["live"]
    under_way, go_on = asyncio.Event(), asyncio.Event()
    runs: list[Work] = []

    async def slow(work: Work) -> Reply:
        runs.append(work)
        under_way.set()
        await go_on.wait()
        return Reply(status=200, body=b"{}")

    async def ask() -> Reply:
        return await perform(context, "key_1", lambda work: idempotency.once(work, request, slow))

    first = asyncio.create_task(ask())
    await under_way.wait()
    with pytest.raises(Conflict) as caught:
        await ask()
    assert caught.value.code == "REQUEST_IN_PROGRESS"
    go_on.set()
    assert (await first).replayed is False
    assert (await ask()).replayed is True
    assert len(runs) == 1


async def test_answers_are_forgotten_after_a_week(api: Api, clock: FakeClock) -> None:
    headers = {"Idempotency-Key": "k1"}
    await api.client.post("/v1/metrics", json=METRIC, headers=headers)
    context = api.contexts["live"]
    clock.advance(timedelta(days=7))
    assert await perform(context, "system", idempotency.prune) == 0
    clock.advance(timedelta(seconds=1))
    assert await perform(context, "system", idempotency.prune) == 1
    response = await api.client.post("/v1/metrics", json=METRIC, headers=headers)
    assert error_of(response)[:2] == (409, "METRIC_KEY_DUPLICATE")


class Apart:
    """A use-case of several transactions, as a charge is; counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = None
        self.request = Request(key_id="key_1", idempotency_key="k1", request_hash=b"h")

    async def step(self) -> Reply:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return Reply(status=200, body=b"{}")

    async def ask(self, api: Api) -> Reply:
        return await idempotency.once_apart(api.contexts["live"], "key_1", self.request, self.step)


async def test_a_step_apart_is_kept_too(api: Api) -> None:
    apart = Apart()
    assert not (await apart.ask(api)).replayed
    assert (await apart.ask(api)).replayed
    assert apart.runs == 1
    apart.request = Request(key_id="key_1", idempotency_key="k1", request_hash=b"other")
    with pytest.raises(IdempotencyMismatch):
        await apart.ask(api)


async def test_a_step_apart_that_failed_frees_its_key(api: Api) -> None:
    apart = Apart()
    apart.error = ProviderUnavailable("down")
    with pytest.raises(ProviderUnavailable):
        await apart.ask(api)
    apart.error = None
    assert not (await apart.ask(api)).replayed


async def test_a_lease_outlives_its_process_and_then_ends(api: Api, clock: FakeClock) -> None:
    apart = Apart()
    under_way = asyncio.Event()

    async def never_ends() -> Reply:
        under_way.set()
        await asyncio.Event().wait()
        raise AssertionError("never comes here")

    context = api.contexts["live"]
    dying = asyncio.create_task(idempotency.once_apart(context, "key_1", apart.request, never_ends))
    await under_way.wait()
    with pytest.raises(Conflict):
        await apart.ask(api)
    assert apart.runs == 0
    # What a killed process leaves behind is the lease alone.
    clock.advance(LEASE)
    assert not (await apart.ask(api)).replayed
    dying.cancel()
    await asyncio.wait([dying])
    assert (await apart.ask(api)).replayed, "the late loser must not undo the winner"


async def test_a_decline_is_an_answer_and_is_kept(
    databases: TestDatabases, clock: FakeClock
) -> None:
    attempts: list[str] = []

    async def charge(call: Call[None, None]) -> Answer:
        async def step() -> tuple[int, object]:
            attempts.append(call.request_id)
            raise PaymentDeclined("refused", details={"code": "expired"})

        return await call.run(step)

    resources = (
        Endpoint(
            method="POST",
            path="/v1/charge",
            handler=charge,
            scope="write",
            summary="",
            tag="t",
            errors=("PAYMENT_DECLINED",),
        ),
    )
    async with serving(databases, clock, resources=resources) as api:
        headers = {"Idempotency-Key": "k1"}
        first = await api.client.post("/v1/charge", headers=headers)
        assert error_of(first)[:2] == (402, "PAYMENT_DECLINED")
        assert first.json()["error"]["details"] == {"code": "expired"}
        again = await api.client.post("/v1/charge", headers=headers)
        assert (again.status_code, again.content) == (402, first.content)
        assert again.headers["idempotent-replay"] == "true"
        assert len(attempts) == 1
        await api.client.post("/v1/charge")
        assert len(attempts) == 2
