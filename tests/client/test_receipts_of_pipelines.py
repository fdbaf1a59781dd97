"""The gate finds each rejected or waiting report of a pipeline, also behind many newer receipts."""

import pytest

from service.client import runs
from service.client.gate_outcomes import PASSED
from service.client.http import ClientError
from service.client.runs import INCOMPLETE
from tests.client.gates import decide
from tests.run_events import run_event
from tests.served import Api

PIPELINE = "github-812"
RECEIPTS = """
INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, pipeline)
SELECT 1, 'rcp_' || lpad(to_hex($1 + n), 32, '0'), 'ci', $1 + n, '', $2, $3, 'web', $4 FROM generate_series(1, $5) n
"""


async def add_receipts(
    api: Api, status: str, run_id: str, pipeline: str | None, *, count: int = 1, after: int = 0
) -> None:
    await api.store.pool.execute(RECEIPTS, after, status, run_id, pipeline, count)


async def send_shop(api: Api) -> None:
    """Store the results of another project of the pipeline."""
    await api.store.ingest(run_event(f"{PIPELINE}:shop", pipeline=PIPELINE, final=False))


@pytest.mark.parametrize(
    ("status", "run_id", "pipeline", "project"),
    [
        ("rejected", f"{PIPELINE}:web", PIPELINE, None),
        ("queued", f"{PIPELINE}:web", PIPELINE, None),
        ("rejected", "custom", PIPELINE, None),
        ("rejected", PIPELINE, None, None),  # of an earlier client
        ("rejected", f"{PIPELINE}:web", None, "web"),
    ],
)
async def test_report_that_is_not_stored_is_found_behind_newer_receipts(
    api: Api, capsys: pytest.CaptureFixture[str], status: str, run_id: str, pipeline: str | None, project: str | None
) -> None:
    await send_shop(api)
    await add_receipts(api, status, run_id, pipeline)
    await add_receipts(api, "stored", "github-813:web", "github-813", count=1_001, after=1)
    assert await decide(api, timeout_s=0, pipeline=PIPELINE, project=project) == INCOMPLETE
    state = "lacks results: a report was rejected" if status == "rejected" else "has reports that aren't processed"
    assert f"run {run_id} {state}" in capsys.readouterr().err


async def test_reports_of_other_pipelines_are_ignored(api: Api) -> None:
    await send_shop(api)
    await add_receipts(api, "rejected", "github-81:web", "github-81")
    await add_receipts(api, "rejected", PIPELINE, "github 812", after=1)
    assert await decide(api, timeout_s=0, pipeline=PIPELINE) == PASSED


async def test_all_pages_of_receipts_of_a_pipeline_are_read(api: Api) -> None:
    await send_shop(api)
    await add_receipts(api, "rejected", f"{PIPELINE}:web", PIPELINE)
    await add_receipts(api, "stored", f"{PIPELINE}:shop", PIPELINE, count=1_001, after=1)
    assert await decide(api, timeout_s=0, pipeline=PIPELINE) == INCOMPLETE


async def test_pipeline_with_too_many_receipts_is_an_error(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_PAGE", 2)
    monkeypatch.setattr(runs, "_MAX_OF_PIPELINE", 3)
    await add_receipts(api, "stored", f"{PIPELINE}:web", PIPELINE, count=3)
    await send_shop(api)
    with pytest.raises(ClientError, match=r"pipeline github-812 has more than 3 reports. Use --run-id for each run"):
        await decide(api, timeout_s=0, pipeline=PIPELINE)
    await api.store.pool.execute("DELETE FROM receipts WHERE source = 'ci' AND event_id = '1'")
    assert await decide(api, timeout_s=0, pipeline=PIPELINE) == PASSED
