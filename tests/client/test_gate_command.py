"""The commands `gate` and `comment`: their options and variables, exit codes, streams, and signals."""

import asyncio
import json
import os
import re
import signal
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from service.client.__main__ import client
from service.client.ci import pipeline_run_id
from service.client.gate_outcomes import BLOCKED, FAILED, PASSED
from service.client.runs import INCOMPLETE
from tests.client.gates import FAILING, url
from tests.run_events import result, run_event
from tests.served import Api


@pytest.mark.slow
async def test_command_exits_with_the_code_of_the_gate(api: Api) -> None:
    await api.store.ingest(run_event(results=[FAILING]))
    assert await command(api, "--run-id", "run_1") == BLOCKED
    assert await command(api, "--run-id", "run_1", "--max-failures", "1") == PASSED
    assert await command(api, "--run-id", "run_2", "--timeout", "0") == INCOMPLETE
    assert await command(api, "--run-id", "run_1", key="zof_wrong") == 3


async def test_closed_stdout_does_not_change_the_exit_code(api: Api) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        await api.store.ingest(run_event())
        assert await command(api, "--run-id", "run_1", stdout=writing) == PASSED
    finally:
        os.close(writing)


@pytest.mark.slow
async def test_name_that_the_terminal_cannot_show_does_not_change_the_exit_code(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")  # of a CI job on Windows
    await api.store.ingest(run_event(results=[FAILING | {"name": "支払う"}]))
    process = await start(api, "--run-id", "run_1", "--max-failures", "1", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == PASSED
    assert b"  auth.login > \\u652f\\u6255\\u3046" in out


@pytest.mark.slow
async def test_interrupted_command_exits_with_130(api: Api) -> None:
    process = await start(api, "--run-id", "run_1", stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    assert b"waiting" in await asyncio.wait_for(process.stderr.readline(), 20)
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 130


async def command(api: Api, *arguments: str, key: str | None = None, stdout: int = asyncio.subprocess.DEVNULL) -> int:
    return await (await start(api, *arguments, key=key, stdout=stdout)).wait()


async def start(
    api: Api, *arguments: str, key: str | None = None, stdout: int | None = None, stderr: int | None = None
) -> asyncio.subprocess.Process:
    environment = {**os.environ, "RESULTS_URL": url(api), "RESULTS_API_KEY": key or api.key}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "gate", *arguments, env=environment, stdout=stdout, stderr=stderr
    )


def invoke(api: Api, *arguments: str, **variables: str) -> Any:
    """Call a command in this process, in a job of GitHub Actions."""
    job = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "812", "GITHUB_JOB": "gate", "GITHUB_REF": "refs/pull/12/merge"}
    server = {"RESULTS_URL": url(api), "RESULTS_API_KEY": api.key}
    return asyncio.to_thread(CliRunner().invoke, client, arguments, env=job | server | variables)


@pytest.fixture
async def pipeline(api: Api) -> None:
    """The runs of two projects of the pipeline, one of which has a failure."""
    for project, results in {"shop": [result()], "web": [FAILING]}.items():
        run_id = pipeline_run_id("github-812", project)
        await api.store.ingest(run_event(run_id, results, project_id=project, pipeline="github-812", final=False))


@pytest.mark.usefixtures("pipeline")
async def test_gate_of_a_pipeline_ignores_the_variable_of_the_project(api: Api) -> None:
    blocked = await invoke(api, "gate", "--pipeline", RESULTS_PROJECT="shop")
    assert blocked.stdout.startswith("blocked: pipeline github-812, 2 projects: shop passed, web blocked\n")
    assert blocked.exit_code == BLOCKED
    assert (await invoke(api, "gate", "--pipeline", "--project", "shop")).exit_code == PASSED


@pytest.mark.usefixtures("pipeline")
async def test_comment_of_a_pipeline_has_the_project_of_the_variable(api: Api) -> None:
    await invoke(api, "gate", "--pipeline")
    comments = await invoke(api, "comment", "--pipeline", "--markdown")
    assert re.findall("<!-- (.+?)(?: completed.*)? -->", comments.stdout) == [
        "zof-results-projects", "zof-results-section: web", "zof-results-section: shop",
    ]  # fmt: skip
    comment = await invoke(api, "comment", "--pipeline", "--markdown", RESULTS_PROJECT="web")
    assert comment.stdout.startswith("<!-- zof-results: web -->\n")


@pytest.mark.usefixtures("pipeline")
async def test_document_is_the_only_output_of_a_github_job(api: Api) -> None:
    blocked = await invoke(api, "gate", "--pipeline", "--json", "--max-new-failures", "0")
    assert [run["project_id"] for run in json.loads(blocked.stdout)["runs"]] == ["shop", "web"]
    assert "::error title=auth.login > pays | cash::" in blocked.stderr


@pytest.mark.parametrize("folder", ["/abs", "../up", "web/../..", "C:\\web", "shop=/abs", "\\web"])
async def test_folder_outside_of_the_repository_is_an_error(shared_api: Api, folder: str) -> None:
    result_ = await invoke(shared_api, "gate", "--run-id", "run_1", "--timeout", "0", "--path-prefix", folder)
    assert "must be a folder relative to the root of the repository" in result_.stderr
    assert result_.exit_code == FAILED


@pytest.mark.parametrize("options", [("--pipeline", "--run-id", "run_1"), ("--needs", "[")])
async def test_invalid_options_are_errors(api: Api, options: tuple[str, ...]) -> None:
    assert (await invoke(api, "gate", *options)).exit_code == FAILED
    assert (await invoke(api, "comment", *options)).exit_code == 2


@pytest.mark.usefixtures("pipeline")
async def test_annotated_files_have_the_folder_of_their_project(api: Api) -> None:
    failing = FAILING | {"file": "tests/shop.py", "line": 3}
    run_id = pipeline_run_id("github-812", "api")
    await api.store.ingest(run_event(run_id, [failing], project_id="api", pipeline="github-812", final=False))
    blocked = await invoke(api, "gate", "--pipeline", "--path-prefix", "api=services/api", "--path-prefix", "web")
    assert "::error file=services/api/tests/shop.py,line=3," in blocked.stdout
