"""Missing items: the items of splits that no job executed block the gate, which names them."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pydantic
import pytest
from aiohttp import FormData

from service.comparison.contract import RunComparison
from service.database.database import as_organization
from service.gates.contract import Decision
from service.splits.contract import SplitsOfRun
from service.splits.model import plan_parts
from service.splits.queries import write_document
from tests.report_api import Reports, serving_reports_with_ingester

COMPARISON = pydantic.TypeAdapter(RunComparison)
DECISION = pydantic.TypeAdapter(Decision)
SPLITS = pydantic.TypeAdapter(SplitsOfRun)
FILES = ("a.py", "b.py", "c.py", "d.py")
PIPELINE = "github-1"
RUN = "github-1:shop"


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


def report_of(files: Sequence[str], names: Sequence[str] = ("one", "two")) -> str:
    """Return a report with tests of these files, of which each takes 0.5 s."""
    cases = "".join(
        f"<testcase classname='{file}' name='{name}' file='{file}' time='0.5'/>" for file in files for name in names
    )
    return f"<testsuite name='unit'>{cases}<testcase name='always' time='0'/></testsuite>"


def assignment(items: Sequence[str], index: int = 1, **fields: Any) -> dict[str, Any]:
    stated = {
        "format": 1, "key": "unit", "project_id": "shop", "pipeline": PIPELINE, "unit": "file", "total": 2,
        "index": index, "items": list(items),
    }  # fmt: skip
    return stated | fields


def form_of(report: str | None, *assignments: Any) -> FormData:
    form = FormData()
    if report is not None:
        form.add_field("report", report, filename="junit.xml", content_type="text/xml")
    for number, stated in enumerate(assignments):
        content = stated if isinstance(stated, bytes) else json.dumps(stated).encode()
        form.add_field("split", content, filename=f"{number}.json", content_type="application/json")
    return form


async def put_plan(reports: Reports, total: int = 2, items: Sequence[str] = FILES, **fields: Any) -> list[list[str]]:
    """Store a plan, and return its parts."""
    plan = plan_parts(items, {}, total)
    parts = [{"index": n, "items": part, "predicted_ms": None} for n, part in enumerate(plan.parts, 1)]
    document: dict[str, Any] = {"unit": "file", "total": total, "variant": {}, "path_prefix": ""} | fields
    ref = {"project_id": "shop", "key": "unit", "pipeline": PIPELINE, "run_id": ""}
    ref.update({name: document.pop(name) for name in ref.keys() & document.keys()})
    statement = (
        "INSERT INTO splits (org_id, project_id, key, pipeline, run_id, document, digest, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, '', 'key_1')"
    )
    stored = write_document({**document, "parts": parts, "unknown_items": 0, "gain_ms": 0})
    async with as_organization(reports.api.resources.pool, reports.api.org_id) as connection:
        await connection.execute(statement, reports.api.org_id, *ref.values(), stored)
    return [list(part) for part in plan.parts]


async def execute(
    reports: Reports, items: Sequence[str], index: int = 1, run_id: str = RUN, part: str | None = None,
    files: Sequence[str] | None = None, stated: dict[str, Any] | None = None, **params: str,
) -> Any:  # fmt: skip
    """Send the report of a job, whose assignment has these items, and return the receipt."""
    fields = {"pipeline": run_id.partition(":")[0], "branch": "main", "part": part or f"unit {index}", **params}
    form = form_of(report_of(items if files is None else files), assignment(items, index, **(stated or {})))
    receipt = await reports.ingest(form, run_id, fields)
    assert receipt["status"] == "stored", receipt
    return receipt


async def compare(reports: Reports, run_id: str = RUN) -> Any:
    comparison = await reports.api.get(f"/v1/runs/{run_id}/comparison")
    COMPARISON.validate_python(comparison)
    return comparison


async def missing(reports: Reports, run_id: str = RUN) -> list[tuple[str, str]] | None:
    """Return the missing items with their reasons, or None if the run has no split."""
    comparison = await compare(reports, run_id)
    if comparison["missing_items"] is None:
        return None
    assert comparison["missing_items"] == len(comparison["missing_items_sample"])
    return [(item["item"], item["reason"]) for item in comparison["missing_items_sample"]]


async def test_item_that_no_upload_states_is_missing(reports: Reports) -> None:
    first, second = await put_plan(reports)
    await execute(reports, first)
    assert await missing(reports) == [(item, "no_upload") for item in second]
    await execute(reports, second, 2)
    assert await missing(reports) == []
