"""The gate of a pipeline evaluates the runs of all projects that the key can read, and notices missing ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from service.client.ci import pipeline_run_id
from service.client.gate_outcomes import BLOCKED, FAILED, PASSED
from service.client.http import Server, ServerError, TemporaryFailure
from service.client.runs import INCOMPLETE
from tests.client.gates import FAILING, decide, put_gate, url
from tests.report_api import PASSING, serving_reports_with_ingester
from tests.run_events import result, run_event
from tests.served import Api

MAIN, PULL_REQUEST = "github-811", "github-812"


async def send(api: Api, pipeline: str, project: str, results: Sequence[Any] = (), **run: Any) -> None:
    """Store the results of a job of the pipeline."""
    branch = {"branch": "main", "completed_at": "2026-05-19T12:00:00Z"} if pipeline == MAIN else {"branch": "fix"}
    await api.store.ingest(
        run_event(
            pipeline_run_id(pipeline, project), list(results) or [result()], project_id=project, pipeline=pipeline,
            base_branch="main", **({"final": False} | branch | run),
        )
    )  # fmt: skip


async def send_baseline(api: Api, *projects: str) -> None:
    """Store a complete pipeline of the base branch."""
    for project in projects:
        await send(api, MAIN, project, part=f"test-{project}")
    await decide(api, pipeline=MAIN)


async def test_every_project_is_evaluated_and_the_exit_code_is_the_highest(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    for project, results in {"api": [], "shop": [FAILING], "web": []}.items():
        await send(api, PULL_REQUEST, project, results)
    assert await decide(api, pipeline=PULL_REQUEST) == BLOCKED
    shown = capsys.readouterr().out
    assert shown.startswith(
        "blocked: pipeline github-812, 3 projects: api passed, shop blocked, web passed\n"
        "passed: run github-812:api (passed)\n"
    )
    assert "blocked: run github-812:shop (failed)\n" in shown
    runs = (await api.get("/v1/runs", {"pipeline": PULL_REQUEST}))["data"]
    assert [run["complete"] for run in runs] == [True] * 3


async def test_option_selects_one_project(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await send_baseline(api, "shop", "web")
    await send(api, PULL_REQUEST, "shop")
    await send(api, PULL_REQUEST, "web", [FAILING])
    capsys.readouterr()
    assert await decide(api, pipeline=PULL_REQUEST, project="shop") == PASSED
    assert capsys.readouterr().out.startswith("passed: pipeline github-812, only shop: shop passed\n")
    assert not (await api.get("/v1/runs/github-812:web"))["complete"]


async def test_key_of_one_project_evaluates_only_this_one(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await send_baseline(api, "shop", "web")
    capsys.readouterr()
    await send(api, PULL_REQUEST, "shop")
    key = (await api.make_key("uploader", project_id="shop")).key
    assert await decide(api, pipeline=PULL_REQUEST, key=key) == PASSED
    assert capsys.readouterr().out.startswith("passed: pipeline github-812, only shop: shop passed\n")


async def test_run_of_an_earlier_client_is_found(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event(PULL_REQUEST, [FAILING], project_id="shop", final=False))
    await send(api, PULL_REQUEST, "web")
    assert await decide(api, pipeline=PULL_REQUEST) == BLOCKED
    assert "2 projects: shop blocked, web passed\n" in capsys.readouterr().out
    assert await decide(api, pipeline=PULL_REQUEST, project="web") == PASSED
    assert await decide(api, pipeline=PULL_REQUEST, project="shop") == BLOCKED
    shop = (await api.make_key("uploader", project_id="web")).key
    assert await decide(api, pipeline=PULL_REQUEST, key=shop) == PASSED


async def test_run_of_an_earlier_client_of_another_project_is_not_completed(api: Api) -> None:
    await api.store.ingest(run_event(PULL_REQUEST, project_id="shop", final=False))
    assert await decide(api, timeout_s=0, pipeline=PULL_REQUEST, project="web") == INCOMPLETE
    assert not (await api.get(f"/v1/runs/{PULL_REQUEST}"))["complete"]


async def test_run_of_another_pipeline_whose_name_has_the_same_run_id_is_not_evaluated(api: Api) -> None:
    await api.store.ingest(run_event("jenkins-My-Shop-12", [FAILING], pipeline="jenkins-My-Shop-12", final=False))
    await send(api, "jenkins-My Shop-12", "shop")
    assert await decide(api, pipeline="jenkins-My Shop-12") == PASSED
    assert not (await api.get("/v1/runs/jenkins-My-Shop-12"))["complete"]


async def test_project_without_results_blocks(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await send_baseline(api, "api", "shop", "web")
    await send(api, PULL_REQUEST, "shop")
    assert await decide(api, pipeline=PULL_REQUEST) == BLOCKED
    assert (
        "blocked: pipeline github-812, only shop: shop passed\n2 of 3 projects sent no results: api; web\n"
        "passed: run github-812:shop (passed)\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("globs", "code"),
    [
        (["*"], PASSED), (["w*", "api"], PASSED), (["web"], BLOCKED),
        (["test-api", "test-web", "lint"], PASSED), (["test-api", "test-web"], BLOCKED),
    ],
)  # fmt: skip
async def test_project_can_be_allowed_to_be_missing(
    api: Api, globs: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    await send(api, MAIN, "api", part="lint")
    await send_baseline(api, "api", "shop", "web")
    await send(api, PULL_REQUEST, "shop")
    assert await decide(api, pipeline=PULL_REQUEST, allowed_parts=globs, max_failures=0) == code
    assert "web (allowed)\n" in capsys.readouterr().out


async def test_project_whose_jobs_were_canceled_is_named_as_such(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await send(api, MAIN, "api", part="lint")
    await send_baseline(api, "api", "shop", "web")
    await send(api, PULL_REQUEST, "shop")
    assert await decide(api, pipeline=PULL_REQUEST, canceled=["test-web", "lint"]) == BLOCKED
    assert "\n2 of 3 projects sent no results: api; web (canceled)\n" in capsys.readouterr().out


async def test_gate_that_does_not_limit_missing_parts_does_not_block(api: Api) -> None:
    await send_baseline(api, "shop", "web")
    await send(api, PULL_REQUEST, "shop")
    await put_gate(api, "lenient", max_failures=0, max_missing_parts=None)
    await put_gate(api, "one", max_failures=0, max_missing_parts=1)
    await put_gate(api, "strict", max_failures=0)
    decided = [await decide(api, pipeline=PULL_REQUEST, gate_name=name) for name in ("lenient", "one", "strict")]
    assert decided == [PASSED, PASSED, BLOCKED]


async def test_run_that_appears_during_the_wait_is_evaluated(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await send(api, PULL_REQUEST, "shop")
    await send(api, PULL_REQUEST, "web", [FAILING])
    get = Server.get
    lists: list[Any] = []

    def get_late(server: Server, path: str, params: Any = ()) -> Any:
        page = get(server, path, params)
        if path == "/runs" and not lists:
            lists.append(page)
            return page | {"data": [run for run in page["data"] if run["project_id"] == "shop"]}
        return page

    monkeypatch.setattr(Server, "get", get_late)
    assert await decide(api, pipeline=PULL_REQUEST) == BLOCKED


@pytest.mark.parametrize("pipeline", [PULL_REQUEST, "jenkins-Shop (支払い)-12"])
async def test_project_whose_only_report_was_rejected_is_not_complete(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], pipeline: str
) -> None:
    shop, web = (pipeline_run_id(pipeline, project) for project in ("shop", "web"))
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        parameters = [("pipeline", pipeline), ("final", "false")]
        await reports.ingest(PASSING, shop, parameters)
        await reports.ingest(b"<testsuite>", web, parameters)
        assert await decide(reports.api, pipeline=pipeline, timeout_s=600) == INCOMPLETE
    captured = capsys.readouterr()
    assert f"incomplete: pipeline {pipeline}, only shop: shop passed, {web} incomplete\n" in captured.out
    assert f"run {web} lacks results: a report was rejected" in captured.err


async def test_pipeline_whose_only_report_was_rejected_has_no_evaluated_project(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    web = pipeline_run_id(PULL_REQUEST, "web")
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.ingest(b"<testsuite>", web, [("pipeline", PULL_REQUEST), ("final", "false")])
        assert await decide(reports.api, pipeline=PULL_REQUEST, timeout_s=600) == INCOMPLETE
    line = f"incomplete: pipeline {PULL_REQUEST}, no project was evaluated: {web} incomplete\n"
    assert line in capsys.readouterr().out


async def test_error_about_one_run_does_not_prevent_other_decisions(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await send(api, PULL_REQUEST, "shop")
    await send(api, PULL_REQUEST, "web", [FAILING])
    post = Server.post

    def post_or_fail(server: Server, path: str, body: Any = None) -> Any:
        if path == "/runs/github-812%3Ashop/decisions":
            raise ServerError("the globs take too long", 503, "unavailable")
        return post(server, path, body)

    monkeypatch.setattr(Server, "post", post_or_fail)
    assert await decide(api, pipeline=PULL_REQUEST, as_json=True) == FAILED
    document = json.loads(capsys.readouterr().out)
    assert [(run["outcome"], run["problem"]) for run in document["runs"]] == [
        ("error", "the globs take too long"), ("blocked", None),
    ]  # fmt: skip
    assert (document["outcome"], document["exit_code"]) == ("blocked", 3)


async def test_error_while_waiting_for_one_run_does_not_prevent_other_decisions(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for project, results in {"api": [], "shop": [FAILING], "web": []}.items():
        await send(api, PULL_REQUEST, project, results)
    post = Server.post

    def post_or_fail(server: Server, path: str, body: Any = None) -> Any:
        if path == "/runs/github-812%3Aapi/complete":
            raise ServerError("an internal error occurred (500)", 500, "internal_error")
        return post(server, path, body)

    monkeypatch.setattr(Server, "post", post_or_fail)
    assert await decide(api, pipeline=PULL_REQUEST, as_json=True) == FAILED
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [(run["project_id"], run["outcome"], run["exit_code"], run["problem"]) for run in document["runs"]] == [
        ("api", "error", 3, "an internal error occurred (500)"), ("shop", "blocked", 1, None),
        ("web", "passed", 0, None),
    ]  # fmt: skip
    assert (document["outcome"], document["exit_code"], document["problems"]) == ("blocked", 3, [])
    assert "Error: run github-812:api: an internal error occurred (500)\n" in captured.err
    assert "blocked: pipeline github-812, 3 projects: api error, shop blocked, web passed\n" in captured.err


@pytest.mark.parametrize(
    ("path", "number", "problem"),
    [("/receipts", 2, "runs that appeared during the wait"), ("/runs", 3, "projects that sent no results")],
)
async def test_decisions_are_printed_although_other_runs_are_unknown(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str, number: int, problem: str
) -> None:
    await send_baseline(api, "shop", "web")
    await send(api, PULL_REQUEST, "shop")
    capsys.readouterr()
    get = Server.get
    requests = 0

    def get_or_fail(server: Server, requested: str, params: Any = ()) -> Any:
        nonlocal requests
        if requested == path and "run_id" not in dict(params):
            requests += 1
            if requests == number:
                raise ServerError("an internal error occurred (500)", 500, "internal_error")
        return get(server, requested, params)

    monkeypatch.setattr(Server, "get", get_or_fail)
    assert await decide(api, pipeline=PULL_REQUEST, as_json=True) == FAILED
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [run["outcome"] for run in document["runs"]] == ["passed"]
    assert document["problems"] == [f"{problem} are unknown: an internal error occurred (500)"]
    assert f"Error: {document['problems'][0]}\n" in captured.err


async def test_gate_of_a_server_that_stops_responding_ends_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for project in ("shop", "web"):
        await send(api, PULL_REQUEST, project)
    requests = 0

    def fail(*_: Any) -> Any:
        nonlocal requests
        requests += 1
        raise TemporaryFailure("the server doesn't respond")

    monkeypatch.setattr(Server, "post", fail)
    with pytest.raises(TemporaryFailure):
        await decide(api, pipeline=PULL_REQUEST)
    assert requests == 1


async def test_run_of_another_project_than_the_option_is_an_error(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    await api.store.ingest(run_event())
    assert await decide(api, project="web") == FAILED
    assert capsys.readouterr().err == "Error: --project: run run_1 is one of project shop\n"
    assert await decide(api, project="shop") == PASSED


async def test_outputs_contain_all_values(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    await send_baseline(api, "shop", "web")
    (tmp_path / "outputs").unlink()
    await send(api, PULL_REQUEST, "shop", [FAILING], part="test-shop")
    await decide(api, pipeline=PULL_REQUEST)
    outputs = dict(line.split("=", 1) for line in (tmp_path / "outputs").read_text().splitlines())
    document = json.loads(outputs.pop("json"))
    assert document["runs"][0]["run_id"] == "github-812:shop"
    assert outputs.pop("decision_id", None) == document["runs"][0]["decision"]["id"]
    assert outputs == {
        "outcome": "blocked", "exit_code": "1", "pipeline": PULL_REQUEST, "projects": "shop", "project": "shop",
        "blocked_projects": "shop", "new_failures": "1", "known_failures": "0", "flaky_failures": "0",
        "quarantined_failures": "0", "missing_parts": "0", "missing_projects": "web", "run_id": "github-812:shop",
        "run_url": f"{url(api)}console/runs/github-812%3Ashop",
    }  # fmt: skip


async def test_summary_and_annotations_state_every_project(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await send_baseline(api, "api", "shop", "web")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    await send(api, PULL_REQUEST, "shop", [FAILING], part="test-shop")
    await send(api, PULL_REQUEST, "web", shard=1, expected_shards=2, final=None)
    assert await decide(api, pipeline=PULL_REQUEST, timeout_s=0) == INCOMPLETE
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("**1 of 3 projects sent no results: `api`**\n\n### Blocked: `shop`\n\n")
    assert "\n### Incomplete: `web`\n\nisn't complete after 0 s: `" in summary
    commands = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert [command.partition(" after")[0] for command in commands[:2]] == [
        "::error::run github-812:web isn't complete", "::error::1 of 3 projects sent no results: api",
    ]  # fmt: skip
    assert commands[2].startswith("::error title=auth.login > pays | cash::expected 200")
