"""Webhooks over HTTP: who may make them, where they may go, secrets that are shown once, deliveries and recoveries."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.usecases.webhooks.deliver_events import recover_missed
from tests.api.served import Api, serve
from tests.consumers.dispatching import dispatching
from tests.receivers import receiving
from tests.run_events import run_event

PUBLIC = "https://hooks.example.com/zof"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """One that lets webhooks go to loopback, as in development."""
    async with serve(database_url, webhook_allow_loopback=True) as served:
        yield served


async def make(api: Api, **said: Any) -> dict[str, Any]:
    response = await api.send("POST", "/v1/webhooks", json={"url": PUBLIC, **said})
    made: dict[str, Any] = await response.json()
    assert response.status == 201, made
    return made


async def post(api: Api, path: str, json: Any = None, status: int = 202) -> dict[str, Any]:
    response = await api.send("POST", path, json=json)
    answer: dict[str, Any] = await response.json()
    assert response.status == status, answer
    return answer


async def test_a_secret_is_shown_when_it_is_made_and_never_again(api: Api) -> None:
    made = await make(api, events=["run.completed"], description="to chat")
    assert made["secret"].startswith("whsec_")
    shown = await api.get(f"/v1/webhooks/{made['id']}")
    assert "secret" not in shown
    assert {**shown, "secret": made["secret"]} == made
    assert (shown["url"], shown["events"], shown["enabled"]) == (PUBLIC, ["run.completed"], True)
    renewed = await post(api, f"/v1/webhooks/{made['id']}/rotate-secret", status=200)
    assert renewed["secret"] != made["secret"]
    assert renewed["previous_secret_expires_at"]


async def test_a_repeated_request_makes_one_webhook_and_keeps_the_secret_to_itself(api: Api) -> None:
    answers = [
        await (await api.send("POST", "/v1/webhooks", json={"url": PUBLIC}, Idempotency_Key="once")).json()
        for _ in range(2)
    ]
    assert answers[1] == {**answers[0], "secret": None}
    assert len((await api.get("/v1/webhooks"))["data"]) == 1


async def test_webhooks_are_listed_changed_and_deleted(api: Api) -> None:
    ids = [(await make(api))["id"] for _ in range(5)]
    assert [hook["id"] for hook in await api.walk("/v1/webhooks", {"limit": "2"})] == ids[::-1]
    changed = await (await api.send("PATCH", f"/v1/webhooks/{ids[0]}", json={"enabled": False})).json()
    assert (changed["enabled"], changed["disabled_reason"], changed["url"]) == (False, "by_request", PUBLIC)
    changed = await (await api.send("PATCH", f"/v1/webhooks/{ids[0]}", json={"enabled": True})).json()
    assert (changed["enabled"], changed["disabled_reason"]) == (True, None)
    assert (await api.send("DELETE", f"/v1/webhooks/{ids[0]}")).status == 204
    await api.error(f"/v1/webhooks/{ids[0]}", 404)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com", "example.com", "https://", "https://user:secret@example.com", "http://10.0.0.1/",
        "http://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::7f00:1]/", "http://0.0.0.0/",
        "https://192.168.1.1:8443/x", "https://[fe80::1%25eth0]/", "https://example.com:99999/",
        f"https://{'a' * 2000}.com",
    ],
)  # fmt: skip
async def test_a_url_that_events_may_not_go_to_is_refused(api: Api, url: str) -> None:
    answer = await post(api, "/v1/webhooks", {"url": url}, status=400)
    assert answer["error"]["param"] == "url"


async def test_loopback_and_plain_http_are_for_development(database_url: str) -> None:
    async with serve(database_url) as api:
        for url in ("http://example.com/", "https://127.0.0.1/", "https://[::1]/"):
            assert (await post(api, "/v1/webhooks", {"url": url}, status=400))["error"]["param"] == "url"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"), ({"url": PUBLIC, "events": ["run.started"]}, "events.0"), ({"url": PUBLIC, "color": 1}, "color"),
        ({"url": PUBLIC, "events": "run.completed"}, "events"), ({"url": PUBLIC, "description": "\0"}, "description"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_webhook_is_named(api: Api, body: dict[str, Any], param: str) -> None:
    answer = await post(api, "/v1/webhooks", body, status=400)
    assert answer["error"]["param"].startswith(param.split(".")[0])


async def test_webhooks_are_the_organizations_own_and_an_admins_to_manage(api: Api) -> None:
    made = await make(api)
    _, stranger = await api.make_organization("other")
    for path in ("", "/deliveries", "/recoveries/rec_" + "0" * 32):
        await api.error(f"/v1/webhooks/{made['id']}{path}", 404, key=stranger)
    assert (await api.get("/v1/webhooks", key=stranger))["data"] == []
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate-secret")):
        response = await api.send(method, f"/v1/webhooks/{made['id']}{path}", key=stranger, json={"enabled": False})
        assert response.status == 404
    engineer = (await api.make_key("engineer")).key
    await api.error("/v1/webhooks", 403, key=engineer)


async def test_a_key_of_one_project_sees_and_makes_webhooks_of_that_one_alone(api: Api) -> None:
    bound = (await api.make_key("admin", project_id="shop")).key
    of_all = await make(api)
    response = await api.send("POST", "/v1/webhooks", key=bound, json={"url": PUBLIC})
    assert (await response.json())["project_id"] == "shop"
    assert len((await api.get("/v1/webhooks", key=bound))["data"]) == 1
    await api.error(f"/v1/webhooks/{of_all['id']}", 404, key=bound)
    refused = await api.send("POST", "/v1/webhooks", key=bound, json={"url": PUBLIC, "project_id": "till"})
    assert refused.status == 403


async def test_a_test_goes_to_this_webhook_alone_whatever_it_has_asked_for(api: Api) -> None:
    async with receiving() as receiver, receiving() as other, dispatching(api.store):
        made = await make(api, url=receiver.url, events=["export.failed"])
        await make(api, url=other.url)
        sent = await post(api, f"/v1/webhooks/{made['id']}/test")
        assert sent["status"] == "pending"
        await finished(api, made, 1)
    assert [one.event["type"] for one in receiver.received] == ["webhook.test"]
    assert other.received == []


async def test_deliveries_show_every_attempt_and_are_delivered_again_on_request(api: Api) -> None:
    async with receiving() as receiver, dispatching(api.store):
        made = await make(api, url=receiver.url)
        await api.store.take(run_event())
        [first] = await finished(api, made, 1)
        assert (first["status"], first["attempts"], first["last_status"]) == ("delivered", 1, 200)
        assert first["attempt_log"][0]["response"] == "thanks"
        await post(api, f"/v1/webhooks/{made['id']}/deliveries/{first['id']}/redeliver")
        [again] = await finished(api, made, 2)
        assert again["attempts"] == 2
    assert [one.headers["webhook-id"] for one in receiver.received] == [first["event_id"]] * 2
    missing = f"/v1/webhooks/{made['id']}/deliveries/dlv_{'0' * 32}/redeliver"
    await post(api, missing, status=404)


async def test_a_disabled_webhook_takes_no_requests(api: Api) -> None:
    made = await make(api, enabled=False)
    for path, body in (("test", None), ("recover", {"since": "2026-01-01"})):
        answer = await post(api, f"/v1/webhooks/{made['id']}/{path}", body, status=409)
        assert answer["error"]["code"] == "conflict"


async def test_a_recovery_brings_back_what_was_missed_and_nothing_twice(api: Api) -> None:
    async with receiving() as receiver:
        made = await make(api, url=receiver.url)
        path = f"/v1/webhooks/{made['id']}"
        async with dispatching(api.store):
            await api.store.take(run_event("arrived"))
            await finished(api, made, 1)
        await api.store.take(run_event("given up"))
        await api.store.pool.execute(
            "UPDATE deliveries SET status = 'exhausted', due_at = NULL WHERE due_at IS NOT NULL"
        )
        await api.send("PATCH", path, json={"enabled": False})
        await api.store.take(run_event("while it was off"))
        await api.send("PATCH", path, json={"enabled": True})
        response = await api.send("POST", f"{path}/recover", json={"since": "2020-01-01"})
        assert response.status == 202
        while await recover_missed(api.store.pool):
            pass
        done = await api.get(response.headers["Location"])
        assert (done["status"], done["recovered"]) == ("succeeded", 2)
        async with dispatching(api.store):
            await finished(api, made, 3)
    runs = [one.event["data"]["object"]["run_id"] for one in receiver.received]
    assert sorted(runs) == ["arrived", "given up", "while it was off"]


@pytest.mark.parametrize("since", ["0001-01-01", "9999-12-31T23:59:59.999999Z"])
async def test_a_recovery_may_begin_anywhere_in_the_calendar(api: Api, since: str) -> None:
    made = await make(api)
    response = await api.send("POST", f"/v1/webhooks/{made['id']}/recover", json={"since": since})
    assert response.status == 202, await response.text()
    assert (await api.get(response.headers["Location"]))["since"][:4] == since[:4]


async def finished(api: Api, webhook: dict[str, Any], attempts: int) -> list[dict[str, Any]]:
    """The deliveries, once there were so many attempts."""
    async with asyncio.timeout(20):
        while True:
            found: list[dict[str, Any]] = (await api.get(f"/v1/webhooks/{webhook['id']}/deliveries"))["data"]
            if sum(one["attempts"] for one in found) >= attempts:
                return found
            await asyncio.sleep(0.02)
