"""The order in which workers claim the reports of one organization."""

from datetime import timedelta
from uuid import uuid4

from service.store import reports
from tests.stored import Store

QUEUED = """
INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, upload, due_at)
SELECT 1, 'rcp_' || number, 'upload', 'evt_' || number, '', 'queued', run_id, 'shop',
       '{"version": 1, "reports": [], "run": {}}', now()
FROM unnest($1::text[]) WITH ORDINALITY AS queued (run_id, number)
"""


async def test_reports_of_untrusted_runs_wait_for_those_of_trusted_ones(store: Store) -> None:
    await store.pool.execute(QUEUED, ["untrusted:a", "run_1", "untrusted:b", "run_2"])
    async with store.pool.acquire() as connection:
        claimed = [await reports.claim(connection, uuid4(), timedelta(seconds=30), []) for _ in range(5)]
    ids = [report and report.claim.job_id for report in claimed]
    assert ids == ["rcp_2", "rcp_4", "rcp_1", "rcp_3", None]
