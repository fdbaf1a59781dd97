"""Webhooks over HTTP: permissions, allowed URLs, secrets, deliveries, and recoveries."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from service.events.operations import number_events
from service.webhooks.deliver_events import recover_missed
from service.webhooks.model import MAX_LOGGED_ATTEMPTS
from tests.receivers import receiving
from tests.run_events import run_event
from tests.served import Api, serve
from tests.webhooks.dispatching import dispatching

PUBLIC = "https://hooks.example.com/zof"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(shared_database_url: str) -> AsyncIterator[Api]:
    async with serve(shared_database_url, webhook_allow_loopback=True) as served:
        yield served


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """Serve an API that allows webhooks on loopback addresses, as in development."""
    async with serve(database_url, webhook_allow_loopback=True) as served:
        yield served


async def create(api: Api, **fields: Any) -> dict[str, Any]:
    response = await api.send("POST", "/v1/webhooks", json={"url": PUBLIC, **fields})
    webhook: dict[str, Any] = await response.json()
    assert response.status == 201, webhook
    return webhook


async def post(api: Api, path: str, json: Any = None, status: int = 202) -> dict[str, Any]:
    response = await api.send("POST", path, json=json)
    body: dict[str, Any] = await response.json()
    assert response.status == status, body
    return body


async def test_secret_is_shown_only_when_it_is_created(api: Api) -> None:
    webhook = await create(api, events=["run.completed"], description="to chat")
    assert webhook["secret"].startswith("whsec_")
    stored = await api.get(f"/v1/webhooks/{webhook['id']}")
    assert "secret" not in stored
    assert {**stored, "secret": webhook["secret"]} == webhook
    assert (stored["url"], stored["events"], stored["enabled"]) == (PUBLIC, ["run.completed"], True)
    rotated = await post(api, f"/v1/webhooks/{webhook['id']}/rotate-secret", status=200)
    assert rotated["secret"] != webhook["secret"]
    assert rotated["previous_secret_expires_at"]


async def test_repeated_request_creates_one_webhook_and_hides_the_secret(api: Api) -> None:
    responses = [
        await (await api.send("POST", "/v1/webhooks", json={"url": PUBLIC}, Idempotency_Key="once")).json()
        for _ in range(2)
    ]
    assert responses[1] == {**responses[0], "secret": None}
    assert len((await api.get("/v1/webhooks"))["data"]) == 1


async def test_webhooks_are_listed_changed_and_deleted(api: Api) -> None:
    ids = [(await create(api))["id"] for _ in range(5)]
    assert [hook["id"] for hook in await api.list_all("/v1/webhooks", {"limit": "2"})] == ids[::-1]
    changed = await (await api.send("PATCH", f"/v1/webhooks/{ids[0]}", json={"enabled": False})).json()
    assert (changed["enabled"], changed["disabled_reason"], changed["url"]) == (False, "by_request", PUBLIC)
    changed = await (await api.send("PATCH", f"/v1/webhooks/{ids[0]}", json={"enabled": True})).json()
    assert (changed["enabled"], changed["disabled_reason"]) == (True, None)
    assert (await api.send("DELETE", f"/v1/webhooks/{ids[0]}")).status == 204
    await api.error(f"/v1/webhooks/{ids[0]}", 404)


@pytest.mark.parametrize(("url", "is_reset"), [(PUBLIC, False), (f"{PUBLIC}/new", True)])
async def test_only_a_new_url_resets_the_failures(api: Api, url: str, *, is_reset: bool) -> None:
    path = f"/v1/webhooks/{(await create(api))['id']}"
    pause = "UPDATE webhooks SET failures = 7, failing_since = now(), paused_until = now() + interval '1 hour'"
    await api.store.pool.execute(pause)
    changed = await (await api.send("PATCH", path, json={"url": url})).json()
    assert (changed["failures"] == 0) is is_reset
    assert [changed[name] is None for name in ("failing_since", "paused_until")] == [is_reset] * 2


async def test_number_of_webhooks_of_an_organization_is_limited(database_url: str) -> None:
    async with serve(database_url, webhooks_per_organization=3) as api:
        ids = [(await create(api))["id"] for _ in range(3)]
        _, other_key = await api.make_organization("other")
        assert (await api.send("POST", "/v1/webhooks", json={"url": PUBLIC}, key=other_key)).status == 201
        response = await post(api, "/v1/webhooks", {"url": PUBLIC}, status=409)
        assert response["error"]["code"] == "conflict"
        assert "3 webhooks" in response["error"]["message"]
        await api.send("DELETE", f"/v1/webhooks/{ids[0]}")
        responses = await asyncio.gather(*(api.send("POST", "/v1/webhooks", json={"url": PUBLIC}) for _ in range(6)))
        assert sorted(response.status for response in responses) == [201] + 5 * [409]
        assert len((await api.get("/v1/webhooks"))["data"]) == 3


async def test_deleted_webhook_is_not_found_before_its_deliveries_are_removed(api: Api) -> None:
    webhook = await create(api)
    await api.store.ingest(run_event())
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await api.send("DELETE", path)).status == 204
    for method, subpath in (("GET", ""), ("GET", "/deliveries"), ("PATCH", ""), ("DELETE", ""), ("POST", "/test")):
        response = await api.send(method, path + subpath, json={"enabled": True} if method == "PATCH" else None)
        assert response.status == 404, (method, subpath)
    assert (await api.get("/v1/webhooks"))["data"] == []
    assert await api.store.pool.fetchval("SELECT secret FROM webhooks") != webhook["secret"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com", "example.com", "https://", "https://user:secret@example.com", "http://10.0.0.1/",
        "http://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::7f00:1]/", "http://0.0.0.0/",
        "https://192.168.1.1:8443/x", "https://[fe80::1%25eth0]/", "https://example.com:99999/",
        f"https://{'a' * 2000}.com",
    ],
)  # fmt: skip
async def test_url_that_is_not_allowed_is_rejected(shared_api: Api, url: str) -> None:
    response = await post(shared_api, "/v1/webhooks", {"url": url}, status=400)
    assert response["error"]["param"] == "url"


async def test_loopback_and_plain_http_are_rejected_in_production(database_url: str) -> None:
    async with serve(database_url) as api:
        for url in ("http://example.com/", "https://127.0.0.1/", "https://[::1]/"):
            assert (await post(api, "/v1/webhooks", {"url": url}, status=400))["error"]["param"] == "url"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "url"), ({"url": PUBLIC, "events": ["run.paused"]}, "events"), ({"url": PUBLIC, "color": 1}, "color"),
        ({"url": PUBLIC, "events": "run.completed"}, "events"), ({"url": PUBLIC, "description": "\0"}, "description"),
    ],
)  # fmt: skip
async def test_validation_error_names_the_field(shared_api: Api, body: dict[str, Any], param: str) -> None:
    response = await post(shared_api, "/v1/webhooks", body, status=400)
    assert response["error"]["param"] == param


async def test_only_admins_of_the_organization_can_manage_webhooks(api: Api) -> None:
    webhook = await create(api)
    _, other_key = await api.make_organization("other")
    for path in ("", "/deliveries", "/recoveries/rec_" + "0" * 32):
        await api.error(f"/v1/webhooks/{webhook['id']}{path}", 404, key=other_key)
    assert (await api.get("/v1/webhooks", key=other_key))["data"] == []
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate-secret")):
        response = await api.send(method, f"/v1/webhooks/{webhook['id']}{path}", key=other_key, json={"enabled": False})
        assert response.status == 404
    engineer = (await api.make_key("engineer")).key
    await api.error("/v1/webhooks", 403, key=engineer)


async def test_key_of_a_project_manages_only_webhooks_of_that_project(api: Api) -> None:
    bound = (await api.make_key("admin", project_id="shop")).key
    unbound = await create(api)
    response = await api.send("POST", "/v1/webhooks", key=bound, json={"url": PUBLIC})
    assert (await response.json())["project_id"] == "shop"
    assert len((await api.get("/v1/webhooks", key=bound))["data"]) == 1
    await api.error(f"/v1/webhooks/{unbound['id']}", 404, key=bound)
    response = await api.send("POST", "/v1/webhooks", key=bound, json={"url": PUBLIC, "project_id": "till"})
    assert response.status == 403


async def test_test_event_reaches_only_the_webhook_under_test_regardless_of_its_subscription(api: Api) -> None:
    async with receiving() as receiver, receiving() as other, dispatching(api.store):
        webhook = await create(api, url=receiver.url, events=["export.failed"])
        await create(api, url=other.url)
        sent = await post(api, f"/v1/webhooks/{webhook['id']}/test")
        assert sent["status"] == "pending"
        await attempted(api, webhook, 1)
    assert [received.event["type"] for received in receiver.received] == ["webhook.test"]
    assert other.received == []


async def test_deliveries_show_all_attempts_and_can_be_redelivered(api: Api) -> None:
    async with receiving() as receiver, dispatching(api.store):
        webhook = await create(api, url=receiver.url)
        await api.store.ingest(run_event())
        [first] = await attempted(api, webhook, 1)
        assert (first["status"], first["attempts"], first["last_status"]) == ("delivered", 1, 200)
        assert first["attempt_log"][0]["response"] == "thanks"
        await post(api, f"/v1/webhooks/{webhook['id']}/deliveries/{first['id']}/redeliver")
        [redelivered] = await attempted(api, webhook, 2)
        assert redelivered["attempts"] == 2
    assert [received.headers["webhook-id"] for received in receiver.received] == [first["event_id"]] * 2
    missing = f"/v1/webhooks/{webhook['id']}/deliveries/dlv_{'0' * 32}/redeliver"
    await post(api, missing, status=404)


async def test_redeliveries_do_not_grow_the_attempt_log_without_limit(api: Api) -> None:
    async with receiving() as receiver, dispatching(api.store):
        webhook = await create(api, url=receiver.url)
        await api.store.ingest(run_event())
        [first] = await attempted(api, webhook, 1)
        await api.store.pool.execute(
            "UPDATE deliveries SET total_attempts = $1, attempt_log ="
            " (SELECT jsonb_agg(jsonb_build_object('at', n)) FROM generate_series(1, $1::int) n)",
            MAX_LOGGED_ATTEMPTS,
        )
        await post(api, f"/v1/webhooks/{webhook['id']}/deliveries/{first['id']}/redeliver")
        [redelivered] = await attempted(api, webhook, MAX_LOGGED_ATTEMPTS + 1)
    assert redelivered["attempts"] == MAX_LOGGED_ATTEMPTS + 1
    assert redelivered["last_status"] == 200
    assert len(redelivered["attempt_log"]) == MAX_LOGGED_ATTEMPTS
    assert redelivered["attempt_log"][0] == {"at": 2}


async def test_event_of_a_disabled_webhook_does_not_contain_its_secret_url(api: Api) -> None:
    """A URL such as that of a chat's incoming webhook is a credential. Viewers and other endpoints see the event."""
    async with receiving(410) as gone, receiving() as other, dispatching(api.store):
        webhook = await create(api, url=f"{gone.url}?token=s3cret", events=["export.failed"], description="chat")
        watcher = await create(api, url=other.url, events=["webhook.disabled"])
        await post(api, f"/v1/webhooks/{webhook['id']}/test")
        await attempted(api, watcher, 1)
    await number_events(api.store.pool)
    viewer = (await api.make_key("viewer")).key
    [event] = (await api.get("/v1/events", {"type": "webhook.disabled"}, key=viewer))["data"]
    subject = event["data"]["object"]
    assert (subject["webhook_id"], subject["description"], subject["reason"]) == (webhook["id"], "chat", "gone")
    assert "s3cret" not in str(event)
    assert "/hook" not in str(event)
    assert other.received[0].event == event


async def test_disabled_webhook_rejects_test_and_recovery(api: Api) -> None:
    webhook = await create(api, enabled=False)
    for path, body in (("test", None), ("recover", {"since": "2026-01-01"})):
        response = await post(api, f"/v1/webhooks/{webhook['id']}/{path}", body, status=409)
        assert response["error"]["code"] == "conflict"


async def test_recovery_delivers_missed_events_once(api: Api) -> None:
    async with receiving() as receiver:
        webhook = await create(api, url=receiver.url)
        path = f"/v1/webhooks/{webhook['id']}"
        async with dispatching(api.store):
            await api.store.ingest(run_event("arrived"))
            await attempted(api, webhook, 1)
        await api.store.ingest(run_event("exhausted"))
        await api.store.pool.execute(
            "UPDATE deliveries SET status = 'exhausted', due_at = NULL WHERE due_at IS NOT NULL"
        )
        await api.send("PATCH", path, json={"enabled": False})
        await api.store.ingest(run_event("disabled"), run_event("without notification", notify=False))
        await api.send("PATCH", path, json={"enabled": True})
        response = await api.send("POST", f"{path}/recover", json={"since": "2020-01-01"})
        assert response.status == 202
        while await recover_missed(api.store.pool):
            pass
        recovery = await api.get(response.headers["Location"])
        assert (recovery["status"], recovery["recovered"]) == ("succeeded", 2)
        async with dispatching(api.store):
            await attempted(api, webhook, 3)
    runs = [received.event["data"]["object"]["run_id"] for received in receiver.received]
    assert sorted(runs) == ["arrived", "disabled", "exhausted"]


@pytest.mark.parametrize("since", ["0001-01-01", "9999-12-31T23:59:59.999999Z"])
async def test_recovery_can_start_at_any_date(api: Api, since: str) -> None:
    webhook = await create(api)
    response = await api.send("POST", f"/v1/webhooks/{webhook['id']}/recover", json={"since": since})
    assert response.status == 202, await response.text()
    assert (await api.get(response.headers["Location"]))["since"][:4] == since[:4]


async def attempted(api: Api, webhook: dict[str, Any], attempts: int) -> list[dict[str, Any]]:
    """Wait until the deliveries have had that many attempts in total, and return them."""
    async with asyncio.timeout(20):
        while True:
            found: list[dict[str, Any]] = (await api.get(f"/v1/webhooks/{webhook['id']}/deliveries"))["data"]
            if sum(delivery["attempts"] for delivery in found) >= attempts:
                return found
            await asyncio.sleep(0.02)
