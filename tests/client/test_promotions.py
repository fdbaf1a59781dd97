"""Untrusted reports of a fork, and their promotion by a trusted job."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.client.__main__ import client
from service.client.ci import current_job, pipeline_run_id, promoted_pipeline, untrusted_run_id
from tests.client.recorded_jobs import FOLDER, load
from tests.report_api import PASSING, serving_reports_with_ingester

COMMIT = "5d25f4849bbd812e4e64e78d4aaa94a72e6cab5c"


def workflow_run(folder: Path, run_id: object) -> dict[str, str]:
    """Return the variables of a job that GitHub started after another workflow."""
    event = folder / "workflow_run.json"
    event.write_text(json.dumps({"workflow_run": {"id": run_id, "head_sha": COMMIT}}))
    return {
        "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "workflow_run", "GITHUB_RUN_ID": "5",
        "GITHUB_EVENT_PATH": str(event),
    }  # fmt: skip


def test_ids_of_untrusted_runs_and_promoted_pipelines(tmp_path: Path) -> None:
    assert untrusted_run_id("github-812:shop") == "untrusted:github-812:shop"
    long = untrusted_run_id(pipeline_run_id("github-812", "s" * 190))
    assert (len(long), long[:20]) == (193, "untrusted:github-812")
    for event_id, pipeline in ((812, "github-812"), (None, None), ("812", None)):
        variables = workflow_run(tmp_path, event_id)
        assert promoted_pipeline(current_job(variables), variables) == pipeline
    push = {**variables, "GITHUB_EVENT_NAME": "push"}
    assert promoted_pipeline(current_job(push), push) == "github-5"


@pytest.mark.slow
async def test_fork_sends_an_untrusted_run_and_a_trusted_job_promotes_it(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as reports:
        api = reports.api
        await reports.ingest(PASSING)
        assert (await api.send("PATCH", "/v1/projects/shop", json={"untrusted_uploads": True})).status == 200
        url = str(api.http.make_url(""))
        public = (await api.make_key("public", project_id="shop")).key
        engineer = (await api.make_key("engineer", project_id="shop")).key
        (tmp_path / "junit.xml").write_bytes(PASSING)

        async def run(variables: dict[str, str], key: str, *arguments: str) -> Result:
            named = {**variables, "RESULTS_URL": url, "RESULTS_API_KEY": key}
            return await asyncio.to_thread(CliRunner().invoke, client, arguments, env=named)

        fork = load(FOLDER / "github-fork.json")
        pipeline, job = f"{fork.job.pipeline}", fork.with_event(tmp_path)
        report = ("report", str(tmp_path / "junit.xml"), "--project", "shop", "--pipeline", "--untrusted", "--wait")
        for _ in range(2):
            result = await run(job, public, *report)
            assert result.exit_code == 0, result.output
        other = (
            "report",
            str(tmp_path / "junit.xml"),
            "--project",
            "shop",
            "--run-id",
            "other",
            "--untrusted",
            "--wait",
        )
        assert (await run(job, public, *other)).exit_code == 0
        run_id = f"untrusted:{pipeline}:shop"
        assert run_id in result.output
        assert (await api.get("/v1/runs", {"pipeline": pipeline}))["data"] == []

        trusted = workflow_run(tmp_path, int(pipeline.removeprefix("github-")))
        result = await run(trusted, engineer, "promote", "--pipeline", "--commit", "f" * 40)
        assert "commit_sha: the run is of the commit" in str(result.exception)
        result = await run(trusted, engineer, "promote", "--pipeline", "--commit", COMMIT)
        page = f"{url}/console/runs/{run_id.replace(':', '%3A')}"
        assert (result.exit_code, result.output) == (0, f"run {run_id} is trusted: 2 passed: {page}\n")
        (stored,) = (await api.get("/v1/runs", {"pipeline": pipeline}))["data"]
        assert (stored["run_id"], stored["trusted"]) == (run_id, True)
        assert (await api.get("/v1/runs/untrusted:other"))["trusted"] is False
        result = await run(trusted, engineer, "promote", "--pipeline", "--commit", COMMIT)
        assert (result.exit_code, result.stderr) == (0, f"pipeline {pipeline} has no untrusted run\n")
