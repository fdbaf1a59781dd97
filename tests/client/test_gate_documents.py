"""The JSON document of the gate has the fields that docs/gates.md states, and contains everything that was decided."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.client.gate_outcomes import BLOCKED, PASSED
from service.client.runs import INCOMPLETE
from tests.client.gates import FAILING, FLAKY, decide, url
from tests.docs.blocks import ROOT
from tests.run_events import result, run_event
from tests.served import Api

PAGE = (ROOT / "docs" / "gates.md").read_text()


def documented(heading: str) -> set[str]:
    """Return the names in the first column of the table below a heading."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def leaves(value: Any, path: str = "") -> set[str]:
    """Return the paths of all fields, in which `[]` are the items of a list, except within objects of the API."""
    if isinstance(value, dict) and path not in (
        "runs[].decision",
        "runs[].counts",
        "runs[].baseline",
        "runs[].changes",
    ):
        return {leaf for name, item in value.items() for leaf in leaves(item, f"{path}.{name}".removeprefix("."))}
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return {leaf for item in items for leaf in leaves(item, f"{path}[]")} or {path}


async def document(api: Api, capsys: pytest.CaptureFixture[str], code: int, **options: Any) -> Any:
    capsys.readouterr()
    assert await decide(api, as_json=True, **options) == code
    return json.loads(capsys.readouterr().out)


async def test_fields_are_those_of_the_documentation(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    for project in ("shop", "web"):
        completed_at = "2026-05-19T12:00:00Z"
        await api.store.ingest(
            run_event(f"p1:{project}", project_id=project, pipeline="p1", branch="main", completed_at=completed_at)
        )
    await api.store.ingest(run_event("p2:shop", [FAILING, FLAKY], pipeline="p2"))
    written = await document(api, capsys, BLOCKED, pipeline="p2")
    assert leaves(written) == documented("### JSON")
    (run,) = written["runs"]
    assert run["decision"] == await api.get(f"/v1/decisions/{run['decision']['id']}")
    assert run["run_url"] == f"{url(api)}console/runs/p2%3Ashop"
    assert run["reasons"] == ["failures: 1, at most 0 allowed (max_failures)"]
    assert [(item["name"], item["change"]) for item in run["failures"]] == [("auth.login > pays | cash", "new_failure")]
    assert written["missing_projects"] == [{"project": "web", "allowed": False, "canceled": False}]


async def test_outputs_are_those_of_the_documentation(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    await api.store.ingest(run_event(pipeline="run_1"))
    assert await decide(api, pipeline="run_1") == PASSED
    outputs = {line.partition("=")[0] for line in (tmp_path / "outputs").read_text().splitlines()}
    assert outputs == documented("### Outputs")


async def test_stdout_contains_only_the_document(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event(results=[FAILING, result("\u202e\x1b[31m")]))
    assert await decide(api, as_json=True) == BLOCKED
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    assert json.loads(line)["exit_code"] == BLOCKED
    assert captured.err.startswith("blocked: run run_1 (failed)\n")


async def test_run_that_is_not_complete_has_a_problem(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event(shard=1, expected_shards=2))
    written = await document(api, capsys, INCOMPLETE, timeout_s=0)
    assert (written["outcome"], written["exit_code"], written["projects"]) == ("incomplete", 2, ["shop"])
    (run,) = written["runs"]
    assert run["problem"] == "isn't complete after 0 s: 1 of 2 shards arrived. Shard 2 is missing"
    assert (run["decision"], run["failures"]) == (None, [])


async def test_pipeline_without_runs_has_an_empty_list(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    written = await document(api, capsys, INCOMPLETE, timeout_s=0, pipeline="p1")
    assert (written["outcome"], written["pipeline"], written["runs"]) == ("incomplete", "p1", [])
