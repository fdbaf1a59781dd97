"""The cost of leasing a task: it doesn't depend on the number of queued tasks."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.database.statements import statements
from tests.stored import Store

QUEUED = 20_000
MAX_BLOCKS = 100
LEASE = timedelta(seconds=30)
FILL_EXPORTS = """
INSERT INTO exports (org_id, export_id, request) SELECT 1, 'exp_' || lpad(n::text, 32, '0'), '{}'
FROM generate_series(1, $1::int) n
"""
FILL_REPORTS = """
INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, upload, due_at)
SELECT 1, 'rcp_' || lpad(n::text, 32, '0'), '', n, '', 'queued', '{}', now() FROM generate_series(1, $1::int) n
"""


@pytest.mark.parametrize(
    ("noun", "fill", "arguments"),
    [("exports", FILL_EXPORTS, (2, 4, True)), ("reports", FILL_REPORTS, (4, [], [], True))],
)
@pytest.mark.parametrize("analyzed", ["short", "long"])
async def test_lease_reads_few_blocks_of_a_long_queue(
    store: Store, database_url: str, noun: str, fill: str, arguments: tuple[Any, ...], analyzed: str
) -> None:
    owner = await asyncpg.connect(database_url)
    try:
        if analyzed == "short":
            await owner.execute("ANALYZE exports, receipts")
        await owner.execute(fill, QUEUED)
        if analyzed == "long":
            await owner.execute("ANALYZE exports, receipts")
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statements(noun)['lease']}"
        async with owner.transaction():
            await owner.execute(statements(noun)["lock_leases"])
            [plan] = json.loads(await owner.fetchval(explain, uuid4(), LEASE, *arguments))
    finally:
        await owner.close()
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < MAX_BLOCKS
