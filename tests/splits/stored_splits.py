"""A run with a split whose second part has no upload."""

from collections.abc import Sequence
from typing import Any

from service.database.database import as_organization
from service.splits.store import write_document
from tests.run_events import result
from tests.runs.run_history import event
from tests.served import Api


async def store_split(api: Api, lost: Sequence[str], *, by_name: bool = False) -> None:
    """Store run_4 with a split of two parts, of which only the first one has an upload: that of the event."""
    api_result = result("pays", file="tests/pays.py", duration_ms=61_000)
    stored = event(4, "", "")
    stored["data"]["results"] = [api_result]
    await api.store.ingest(stored)
    parts = [(1, ["tests/pays.py"], 60_000), (2, lost, None)]
    plan: dict[str, Any] = {"unit": "file", "total": 2, "variant": {"os": "linux"}, "path_prefix": ""}
    stated = {
        **plan,
        "variant": {},
        "index": 1,
        "items": ["tests/pays.py"],
        "all_items": lost if by_name else None,
        "expects_results": False,
    }
    plan = {
        **plan, "variant": {}, "parts": [{"index": n, "items": items, "predicted_ms": ms} for n, items, ms in parts]
    }  # fmt: skip
    async with as_organization(api.resources.pool, api.org_id) as connection:
        receipt_id = await connection.fetchval("SELECT receipt_id FROM receipts WHERE run_id = 'run_4'")
        if not by_name:
            await connection.execute(
                "INSERT INTO splits (org_id, project_id, key, pipeline, run_id, document, digest, created_by)"
                " VALUES ($1, 'shop', 'unit <i>', '', 'run_4', $2, '', 'key_1')", api.org_id, write_document(plan),
            )  # fmt: skip
        await connection.execute(
            "INSERT INTO split_assignments (org_id, receipt_id, key, project_id, pipeline, run_id, document)"
            " VALUES ($1, $2, 'unit <i>', 'shop', '', 'run_4', $3)", api.org_id, receipt_id, write_document(stated),
        )  # fmt: skip
