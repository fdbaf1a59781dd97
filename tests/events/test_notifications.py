"""Notifications about events: at most one per transaction, sent after its commit."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import UTC, datetime

import pytest

from service.database import database
from service.database.database import Connection, Pool
from service.database.notifications import listening
from service.database.transactions import notify_after_commit, notifying_transaction
from service.domain.ids import OrgId, new_id
from service.events import store as events_store
from service.events.model import NewEvent
from service.events.operations import number_events
from service.exports.contract import ExportRequest
from service.exports.operations import request_export
from service.identity.keys.model import Caller
from service.mutations.model import Mutation, StoredResponse
from service.mutations.operations import mutate
from service.organizations import store as organizations_store
from service.reports.accept_report import accept_report
from service.reports.model import StoredPart, Upload
from service.webhooks.operations import WebhookRef, request_recovery, request_redelivery, request_test
from tests.fixtures.broker import until
from tests.run_events import run_event
from tests.statements import record_statements
from tests.stored import Store
from tests.webhooks.dispatching import add_webhook

pytestmark = pytest.mark.one_server  # compares the commands of transactions

Request = Callable[[Connection, WebhookRef, str], Awaitable[None]]


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that any connection executes, in order."""
    return record_statements(monkeypatch)


@pytest.fixture
async def api_pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await database.open_pool(database_url, "results_api", 2)
    yield pool
    await database.close_pool(pool)


def assert_notified_once_after_the_commit(statements: list[str]) -> None:
    notifications = [index for index, query in enumerate(statements) if "pg_notify" in query]
    commits = [index for index, query in enumerate(statements) if query == "COMMIT;"]
    assert len(notifications) == 1
    assert len(commits) == 1
    assert notifications[0] > commits[0]


async def have(count: int, notified: list[set[OrgId]]) -> bool:
    return len(notified) >= count


async def send_test(connection: Connection, ref: WebhookRef, delivery_id: str) -> None:
    await request_test(connection, ref)


async def redeliver(connection: Connection, ref: WebhookRef, delivery_id: str) -> None:
    await request_redelivery(connection, ref, delivery_id)


async def recover(connection: Connection, ref: WebhookRef, delivery_id: str) -> None:
    await request_recovery(connection, ref, datetime.now(UTC))


@pytest.mark.parametrize("request_delivery", [send_test, redeliver, recover])
@pytest.mark.parametrize("key", [None, "once"])
async def test_a_webhook_request_notifies_after_its_commit(
    store: Store, api_pool: Pool, statements: list[str], request_delivery: Request, key: str | None
) -> None:
    webhook = await add_webhook(store, "https://example.com")
    await store.ingest(run_event())
    delivery_id = await store.pool.fetchval("SELECT delivery_id FROM deliveries")
    statements.clear()

    async def work(connection: Connection) -> StoredResponse:
        await request_delivery(connection, WebhookRef(OrgId(1), webhook.webhook_id), delivery_id)
        return StoredResponse(202, b"{}")

    mutation = Mutation(OrgId(1), "key_1", "POST", "/v1/webhooks", "req_1", key, b"")
    await mutate(api_pool, mutation, work, lambda _: None)
    assert_notified_once_after_the_commit(statements)


async def request_all(connection: Connection) -> None:
    await request_export(
        connection, Caller(OrgId(1), "key_1", "admin", None), ExportRequest.model_validate({"format": "csv"})
    )


async def upload_report(connection: Connection) -> None:
    upload = Upload((StoredPart("artifacts/1/junit.xml", "junit.xml", None, 1, "00"),), {"project_id": "proj_1"})
    await accept_report(connection, OrgId(1), new_id("rcp"), "run_1", upload)


@pytest.mark.parametrize("request_job", [request_all, upload_report])
async def test_a_request_for_a_job_notifies_the_relay_after_its_commit(
    store: Store, statements: list[str], request_job: Callable[[Connection], Awaitable[None]]
) -> None:
    statements.clear()
    async with store.pool.acquire() as connection:
        await request_job(connection)
    assert_notified_once_after_the_commit(statements)
    assert await store.pool.fetchval("SELECT count(*) FROM outbox") == 1


async def test_an_ingested_batch_notifies_once_after_its_commit(store: Store, statements: list[str]) -> None:
    await store.ingest(run_event())  # stores the case and the month, in transactions of their own
    statements.clear()
    await store.ingest(run_event("run_2"), run_event("run_3"))
    assert_notified_once_after_the_commit(statements)


async def test_a_notification_names_the_organizations_of_the_events(store: Store) -> None:
    async with store.pool.acquire() as connection:
        await organizations_store.create(connection, "other", "Other")
    await store.ingest(run_event(), run_event("run_1", organization="other"))
    notified: list[set[OrgId]] = []
    async with store.pool.acquire() as connection, listening(connection, events_store.EVENTS_WRITTEN, notified.append):
        await store.ingest(run_event("run_2"), run_event("run_3"))
        await store.ingest(run_event("run_2", organization="other"), run_event("run_4"))
        await until(lambda: have(2, notified), "two notifications")
    assert notified == [{1}, {1, 2}]


@pytest.mark.parametrize("org_ids", [[], range(1, 600)])
async def test_a_notification_without_organizations_or_with_too_many_applies_to_any(
    store: Store, org_ids: Collection[OrgId]
) -> None:
    notified: list[set[OrgId]] = []
    async with store.pool.acquire() as listener, listening(listener, "channel", notified.append):
        async with store.pool.acquire() as connection, notifying_transaction(connection):
            notify_after_commit("channel", [OrgId(1)])
            notify_after_commit("channel", org_ids)
        await until(lambda: have(1, notified), "the notification")
    assert notified == [set()]


async def test_a_batch_without_changes_sends_no_notification(store: Store, statements: list[str]) -> None:
    await store.ingest(run_event())
    statements.clear()
    await store.ingest(run_event())
    assert not [query for query in statements if "pg_notify" in query]


async def test_numbering_notifies_after_its_commit(store: Store, statements: list[str]) -> None:
    await store.ingest(run_event())
    statements.clear()
    assert await number_events(store.pool) == 1
    notified = next(index for index, query in enumerate(statements) if "pg_notify" in query)
    assert notified > statements.index("COMMIT;")


async def test_an_event_outside_of_a_notifying_transaction_is_an_error(store: Store) -> None:
    async with store.pool.acquire() as connection, connection.transaction():
        with pytest.raises(LookupError):
            await events_store.insert(connection, [NewEvent(OrgId(1), "evt_1", "run.updated", None, None, "{}")])
