"""Untrusted reports of a fork, and their promotion by a trusted job."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.client.__main__ import client
from service.client.ci import current_job, pipeline_run_id, promoted_pipeline, untrusted_run_id
from tests.client.recorded_jobs import FOLDER, load
from tests.forks import COMMIT as COMMIT_OF_FORK
from tests.forks import RUN, serving_fork
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


@pytest.mark.parametrize(
    ("options", "content", "message"),
    [
        ((), "", "--receipt: at least one is required."),
        (("--receipt", "rcp_1"), "", "--receipt: 'rcp_1' must be rcp_ and 32 hexadecimal digits"),
        (("--receipts", "receipts.txt"), "", "--receipt: at least one is required."),
        (("--receipts", "receipts.txt"), "rcp_1\n", "--receipt: 'rcp_1' must be rcp_ and 32 hexadecimal digits"),
        (("--receipts", "receipts.txt"), "a" * (2**20 + 1), "--receipts: receipts.txt must have at most 1048576 bytes"),
    ],
)
def test_promotion_without_valid_receipts_is_a_usage_error(
    options: tuple[str, ...], content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receipts.txt").write_text(content)
    arguments = ("promote", "--url", "http://127.0.0.1:9", "--key", "zof_1", "--run-id", RUN, "--commit", COMMIT)
    result = CliRunner().invoke(client, (*arguments, *options))
    assert (result.exit_code, message in result.stderr) == (2, True), (result.output, result.exception)


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
        receipts = tmp_path / "receipts.txt"
        output = job | {"GITHUB_OUTPUT": str(tmp_path / "output")}
        for _ in range(2):
            result = await run(output, public, *report)
            assert result.exit_code == 0, result.output
        run_id = f"untrusted:{pipeline}:shop"
        assert run_id in result.output
        [receipt_id] = {line[11:] for line in (tmp_path / "output").read_text().split() if line[:11] == "receipt_id="}
        receipts.write_text(f"{receipt_id}\n{receipt_id}\n")
        stranger = ("report", str(tmp_path / "junit.xml"), "--project", "shop", "--untrusted", "--wait", "--run-id")
        other_run = f"{pipeline}0"
        result = await run({**job, **output, "GITHUB_OUTPUT": str(tmp_path / "other")}, public, *stranger, other_run)
        assert result.exit_code == 0, result.output
        other = (await api.get("/v1/receipts", {"run_id": f"untrusted:{other_run}"}))["data"][0]["id"]
        assert (await api.get("/v1/runs", {"pipeline": pipeline}))["data"] == []

        trusted = workflow_run(tmp_path, int(pipeline.removeprefix("github-")))
        promote = ("promote", "--pipeline", "--receipts", str(receipts), "--commit")
        for arguments, problem in (
            ((*promote, "f" * 40), "--commit: the report of"),
            ((*promote, COMMIT, "--receipt", other), f"receipt {other} isn't one of an untrusted run of the pipeline"),
            ((*promote, COMMIT, "--receipt", "rcp_\x1b"), "must be rcp_ and 32 hexadecimal digits"),
            ((*promote, COMMIT, "--run-id", "a"), "--run-id"),
            (("promote", "--pipeline", "--commit", COMMIT), "--receipt: at least one is required"),
        ):
            result = await run(trusted, engineer, *arguments)
            assert result.exit_code != 0
            assert problem in f"{result.exception} {result.output}", result.output
        result = await run(trusted, engineer, *promote, COMMIT)
        page = f"{url}/console/runs/{run_id.replace(':', '%3A')}"
        assert result.exit_code == 0, result.output
        assert result.output.endswith(f"run {run_id} is trusted: 2 passed: {page}\n")  # after the log of the worker
        (stored,) = (await api.get("/v1/runs", {"pipeline": pipeline}))["data"]
        assert (stored["run_id"], stored["trusted"], stored["complete"]) == (run_id, True, False)
        assert (await api.get(f"/v1/runs/untrusted:{other_run}"))["trusted"] is False
        result = await run(trusted, engineer, *promote, COMMIT)
        assert result.exit_code == 0, result.output
        assert result.output.endswith(f"run {run_id} is trusted: 2 passed: {page}\n")  # after the log of the worker


@pytest.mark.slow
async def test_promotion_of_a_report_that_can_not_be_stored_again_fails(database_url: str, tmp_path: Path) -> None:
    async with serving_fork(database_url, tmp_path) as fork:
        receipt = await fork.upload()
        pool = fork.reports.api.store.pool
        path = await pool.fetchval("SELECT path FROM artifacts WHERE name = $1", receipt["id"])
        await fork.reports.storage.delete(path)
        arguments = ["promote", "--run-id", RUN, "--commit", COMMIT_OF_FORK, "--receipt", receipt["id"]]
        variables = {"RESULTS_URL": str(fork.reports.api.http.make_url("")), "RESULTS_API_KEY": fork.reports.api.key}
        result = await asyncio.to_thread(CliRunner().invoke, client, arguments, env=variables)
        assert result.exit_code == 1
        assert f"Error: the report of {receipt['id']} isn't stored: invalid: the file was not found" in result.stderr
        assert f"run {RUN} is trusted: no results" in result.output
