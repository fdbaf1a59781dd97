"""Pages of lists end early if they are large, and a run has a limited number of labels from every input."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from service.database import pages
from tests.report_api import serving_reports_with_ingester
from tests.run_events import result, run_event
from tests.served import Api

pytestmark = pytest.mark.slow

RUNS = [f"run_{number:02}" for number in range(20)]
MANY_LABELS = {f"label {number}": "x" * 100 for number in range(1_000)}


@pytest.fixture
async def stored(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    invalid = {"name": "x" * 500, "status": "passed", "duration_ms": -1}
    await api.send("PUT", "/v1/gates/release", json={"policy": {"max_failures": 0}})
    for second, run_id in enumerate(RUNS):
        time = f"2026-05-20T12:00:{second:02}Z"
        await api.store.ingest(run_event(run_id, [result(run_id), invalid], labels={"note": "x" * 500}, time=time))
        await api.send("POST", "/v1/results/export", json={"format": "csv", "filter": {"run_id": run_id}})
        await api.send("POST", f"/v1/runs/{run_id}/decisions", json={"gate": "release"})
    async with api.store.pool.acquire() as connection:
        await connection.execute("UPDATE events SET number = nextval('event_numbers')")
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 2_000)
    return api


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/runs", {}),
        ("/v1/results", {}),
        ("/v1/events", {"type": "run.completed"}),
        ("/v1/receipts", {}),
        ("/v1/results/export", {}),
        ("/v1/decisions", {}),
        ("/v1/decisions", {"gate": "release"}),
    ],
)
async def test_list_of_large_items_has_small_pages_and_is_complete(
    stored: Api, path: str, params: dict[str, str]
) -> None:
    first = await stored.get(path, {"limit": "1000", **params})
    assert 1 <= len(first["data"]) < len(RUNS)
    assert len(orjson.dumps(first["data"])) < 2_000 + 2_000  # the budget and the item with which the page reaches it
    found = [run_id_of(item) for item in await stored.list_all(path, {"limit": "1000", **params})]
    assert found == RUNS[::-1]


@pytest.mark.parametrize("path", ["/v1/cases?project_id=shop", "/v1/results/{result}/artifacts"])
async def test_list_without_runs_has_small_pages_and_is_complete(stored: Api, path: str) -> None:
    artifacts = [{"name": f"{run_id}.png", "uri": "x" * 300} for run_id in RUNS]
    await stored.store.ingest(run_event("run_with_artifacts", [result(RUNS[0], artifacts=artifacts)]))
    results = (await stored.get("/v1/results", {"run_id": "run_with_artifacts"}))["data"]
    path = path.format(result=results[0]["id"])
    first = await stored.get(path, {"limit": "100"})
    assert 1 <= len(first["data"]) < len(RUNS)
    assert first["has_more"]
    names = [item["name"].removesuffix(".png") for item in await stored.list_all(path, {"limit": "100"})]
    assert sorted(names) == RUNS


def run_id_of(item: Any) -> Any:
    return item.get("run_id") or item.get("data", {}).get("object", {}).get("run_id") or item["filter"]["run_id"]


async def test_labels_of_an_event_are_limited(api: Api) -> None:
    labels = {"team": "shop", "long": "x" * 1_001, **MANY_LABELS}
    [outcome] = await api.store.ingest(run_event("run_1", labels=labels))
    assert outcome.status == "stored"
    run = await api.get("/v1/runs/run_1")
    assert run["labels"]["team"] == "shop"
    assert "long" not in run["labels"]
    assert len(run["labels"]) == 100
    [receipt] = (await api.get("/v1/receipts"))["data"]
    assert receipt["problems"][0]["name"] == "run.labels"
    assert receipt["problems"][0]["reason"].startswith("run.labels: 902 labels were not stored; a run has at most 100")


async def test_labels_together_are_limited(api: Api) -> None:
    await api.store.ingest(run_event("run_1", labels={f"label {number}": "x" * 1_000 for number in range(50)}))
    assert len((await api.get("/v1/runs/run_1"))["labels"]) == 15


async def test_labels_of_a_native_report_are_limited(database_url: str, tmp_path: Path) -> None:
    report = {"run": {"labels": MANY_LABELS}, "results": [result()]}
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        receipt = await reports.ingest(orjson.dumps(report), Content_Type="application/json")
        assert receipt["status"] == "stored", receipt
        assert "900 labels were not stored" in receipt["problems"][0]["reason"]
        assert len((await reports.api.get("/v1/runs/run_1"))["labels"]) == 100


@pytest.mark.parametrize("repeated", [False, True], ids=["listed attempts", "repeated case ID"])
async def test_texts_of_the_attempts_of_one_result_are_limited(api: Api, *, repeated: bool) -> None:
    failure = {"message": "m" * 10_000, "details": "d" * 100_000}
    attempts: list[dict[str, Any]] = [{"status": "failed", "failure": failure}] * 30
    results = [result(case_id="a", **attempt) for attempt in attempts] if repeated else None
    await api.store.ingest(run_event("run_1", results or [result("x", "failed", attempts=attempts)]))
    [found] = (await api.get("/v1/results"))["data"]
    one = await api.get(f"/v1/results/{found['id']}")
    details = [attempt["failure"]["details"] for attempt in one["attempt_details"]]
    assert (len(details), details[-1], details[0]) == (30, "d" * 100_000, None)
    assert len(orjson.dumps(one["attempt_details"])) < 1_100_000
    [receipt] = (await api.get("/v1/receipts"))["data"]
    assert "texts of early attempts were shortened" in receipt["problems"][0]["reason"]


async def test_problems_of_a_receipt_are_limited(api: Api) -> None:
    invalid = {"name": "x" * 900, "status": "passed", "duration_ms": -1}
    await api.store.ingest(run_event("run_1", [result(), *[invalid] * 2_000]))
    [receipt] = (await api.get("/v1/receipts"))["data"]
    assert len(orjson.dumps(receipt)) < 150_000
    listed = len(receipt["problems"]) - 1
    assert receipt["problems"][-1]["reason"] == f"{2_000 - listed} further problems"
