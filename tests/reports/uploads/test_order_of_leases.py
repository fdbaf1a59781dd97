"""The order in which workers lease the reports of one organization."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from service.domain.ids import OrgId
from service.reports import store as reports_store
from service.reports.store import BusySlots
from tests.stored import Store

QUEUED = """
INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, upload, due_at)
SELECT 1, 'rcp_' || number, 'upload', 'evt_' || number, '', 'queued', run_id, 'shop',
       '{"version": 1, "reports": [], "run": {}}', now()
FROM unnest($1::text[]) WITH ORDINALITY AS queued (run_id, number)
"""
ABANDONED = """
UPDATE receipts SET status = 'processing', claim = gen_random_uuid(), lease_until = now() - interval '1 s'
WHERE run_id = ANY ($1::text[])
"""


async def leased(store: Store, busy: BusySlots, count: int = 1) -> list[Any]:
    """Return the IDs of the reports that workers lease one after another."""
    async with store.pool.acquire() as connection:
        found = [await reports_store.lease(connection, uuid4(), timedelta(seconds=30), busy) for _ in range(count)]
    return [report and report.lease.task_id for report in found]


async def test_reports_of_untrusted_runs_wait_for_those_of_trusted_ones(store: Store) -> None:
    await store.pool.execute(QUEUED, ["untrusted:a", "run_1", "untrusted:b", "run_2"])
    assert await leased(store, BusySlots(), 5) == ["rcp_2", "rcp_4", "rcp_1", "rcp_3", None]


async def test_abandoned_reports_of_untrusted_runs_wait_as_well(store: Store) -> None:
    await store.pool.execute(QUEUED, ["untrusted:a", "run_1", "untrusted:b", "run_2"])
    await store.pool.execute(ABANDONED, ["untrusted:a", "run_2"])
    assert await leased(store, BusySlots(), 5) == ["rcp_2", "rcp_4", "rcp_1", "rcp_3", None]


async def test_reports_of_untrusted_runs_are_leased_only_with_a_slot_for_them(store: Store) -> None:
    await store.pool.execute(QUEUED, ["untrusted:a", "run_1", "untrusted:b"])
    await store.pool.execute(ABANDONED, ["untrusted:a"])
    for busy in (BusySlots(accepts_untrusted=False), BusySlots(without_untrusted=[OrgId(1)])):
        assert await leased(store, busy, 2) in (["rcp_2", None], [None, None])
    assert await leased(store, BusySlots([OrgId(1)])) == [None]
    assert await leased(store, BusySlots(without_untrusted=[OrgId(2)]), 3) == ["rcp_1", "rcp_3", None]


async def test_promoted_report_does_not_wait_for_those_of_strangers(store: Store) -> None:
    await store.pool.execute(QUEUED, ["untrusted:a", "untrusted:b", "run_1"])
    promoted = "UPDATE receipts SET upload = upload || '{\"is_promoted\": true}' WHERE receipt_id = 'rcp_2'"
    await store.pool.execute(promoted)
    assert await leased(store, BusySlots(accepts_untrusted=False), 3) == ["rcp_2", "rcp_3", None]
    assert await leased(store, BusySlots()) == ["rcp_1"]
