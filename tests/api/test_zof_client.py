"""A client that only knows Zof's public API works unchanged: webhooks with its own secret, runs, results, and pages."""

import hmac
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from service.database.encryption import SecretCipher
from tests.fixtures.broker import until
from tests.receivers import receiving
from tests.run_events import result, run_event
from tests.served import Api, serve
from tests.webhooks.dispatching import dispatching

SECRET = "integration secret 1"
STANDARD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
CATALOG = [
    "run.completed", "run.failed", "run.started", "remediation.plan_pending", "remediation.approved", "agent.offline",
    "release.gate_blocked", "integration.error",
]  # fmt: skip
NEVER_SENT = {"run.started", "remediation.plan_pending", "remediation.approved", "agent.offline", "integration.error"}
PUBLIC = "https://hooks.example.com/zof"


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with serve(database_url, webhook_allow_loopback=True) as served:
        yield served


async def register(api: Api, status: int = 201, **fields: Any) -> Any:
    response = await api.send("POST", "/v1/webhooks", json={"url": PUBLIC, **fields})
    assert response.status == status, await response.text()
    return await response.json()


def verify(body: bytes, signature: str, secret: str) -> bool:
    """Verify as the example on Zof's public page does: the hex HMAC-SHA256 of the raw body."""
    return hmac.compare_digest(signature, hmac.new(secret.encode(), body, sha256).hexdigest())


@pytest.mark.parametrize("secret", [SECRET, STANDARD_SECRET, "fernet:0123:0123456", "plain:0123456789"])
async def test_client_with_its_own_secret_verifies_deliveries_and_reads_the_run(api: Api, secret: str) -> None:
    async with receiving() as receiver, dispatching(api.store):
        hook = await register(api, url=receiver.url, events=CATALOG, secret=secret)
        assert hook["secret"] is None
        await api.store.ingest(run_event("run_xyz", [result("pays", "failed")]))
        await until(lambda: _count(receiver.received, 2), "two deliveries")
    objects = []
    for delivery in receiver.received:
        assert verify(delivery.body, delivery.headers["X-Zof-Signature"], secret)
        if secret.startswith("whsec_"):
            Webhook(secret).verify(delivery.body, dict(delivery.headers))
        event = delivery.event
        assert set(event) == {"id", "type", "created", "data"}
        assert re.fullmatch(r"evt_\w+", event["id"])
        objects.append(event["data"]["object"])
    assert {delivery.event["type"] for delivery in receiver.received} == {"run.completed", "run.failed"}
    [run] = (await api.get("/v1/runs", {"limit": "50"}))["data"]
    full = await api.get(f"/v1/runs/{run['id']}")
    assert run == {name: value for name, value in full.items() if name != "parts"}
    identity = {"id": "run_xyz", "organization_id": "acme", "run_id": "run_xyz"}
    for shown in (run, *objects):
        assert {name: shown[name] for name in identity} == identity


async def _count(received: list[Any], expected: int) -> bool:
    return len(received) >= expected


async def test_client_reads_every_page_of_runs_and_the_failures_of_a_run(api: Api) -> None:
    await api.store.ingest(*[run_event(f"run_{number}", [result("pays", "failed")]) for number in range(3)])
    runs = await api.list_all("/v1/runs", {"limit": "2"})
    assert {run["id"] for run in runs} == {"run_0", "run_1", "run_2"}
    for run in runs:
        [failure] = (await api.get("/v1/results", {"run_id": run["id"], "status": "failed"}))["data"]
        detail = await api.get(f"/v1/results/{failure['id']}")
        assert (detail["run"]["id"], detail["run"]["organization_id"]) == (run["id"], "acme")


async def test_events_of_a_batch_state_their_own_organization(api: Api) -> None:
    other, key = await api.make_organization("other")
    await api.store.ingest(run_event("run_1", final=False), run_event("run_2", organization="other"))
    assert (await api.send("POST", "/v1/runs/run_1/complete")).status == 200
    rows = await api.store.pool.fetch("SELECT org_id, data->>'organization_id' AS slug FROM events ORDER BY 1")
    assert {(row["org_id"], row["slug"]) for row in rows} == {(api.org_id, "acme"), (other, "other")}
    assert (await api.get("/v1/runs/run_2", key=key))["organization_id"] == "other"


async def test_types_that_are_never_sent_are_listed(api: Api) -> None:
    hook = await register(api, events=CATALOG)
    assert hook["events"] == CATALOG
    assert set(hook["never_sent"]) >= NEVER_SENT
    assert not {"run.completed", "run.failed"} & set(hook["never_sent"])
    [listed] = (await api.get("/v1/webhooks"))["data"]
    assert listed["never_sent"] == hook["never_sent"]
    path = f"/v1/webhooks/{hook['id']}"
    changed = await (await api.send("PATCH", path, json={"events": ["agent.offline", "run.failed"]})).json()
    assert (changed["events"], changed["never_sent"]) == (["agent.offline", "run.failed"], ["agent.offline"])
    assert (await register(api))["never_sent"] == []
    assert (await register(api, 400, events=["run.paused"]))["error"]["param"].startswith("events")


@pytest.mark.parametrize(
    "secret",
    [
        "", "x" * 15, "x" * 257, "tab\tin this secret", "line\nin this secret", 7, "whsec_", "whsec_not base64 at all!",
        "whsec_" + "A" * 28, "whsec_" + "A" * 88, "whsec_" + "A" * 33,
    ],
)  # fmt: skip
async def test_invalid_secret_is_rejected(shared_api: Api, secret: Any) -> None:
    error = (await register(shared_api, 400, secret=secret))["error"]
    assert error["param"] == "secret"
    assert len(str(secret)) < 8 or str(secret) not in error["message"]


@pytest.mark.parametrize("secret", ["x" * 16, "ü" * 256, "whsec_" + "A" * 32, "whsec_" + "A" * 86 + "=="])
async def test_secret_within_the_limits_is_accepted_and_never_returned(api: Api, secret: str) -> None:
    hook = await register(api, secret=secret)
    shown = await api.get(f"/v1/webhooks/{hook['id']}")
    assert hook == shown | {"secret": None}
    stored = await api.store.pool.fetchval("SELECT secret FROM webhooks")
    assert SecretCipher().decrypt(stored) == secret
    rotated = await (await api.send("POST", f"/v1/webhooks/{hook['id']}/rotate-secret")).json()
    assert rotated["secret"].startswith("whsec_")
