"""The report command uploads files and prints their receipts. In a CI job, most options have defaults."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.client import report as report_client
from service.client import runs as client_runs
from service.client.__main__ import client
from service.client.ci import SYSTEMS
from service.client.http import ClientError
from service.client.path_prefixes import find_root
from service.client.report import REJECTED, STORED, UNFINISHED
from tests.client.recorded_jobs import recorded_jobs
from tests.report_api import PASSING, Reports, serving_reports, serving_reports_with_ingester
from tests.reports.archive_files import pack_gzip

SHOP = [("project_id", "shop")]


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        await opened.api.become("uploader")  # as a CI job
        yield opened


def url(reports: Reports) -> str:
    return str(reports.api.http.make_url("/"))


async def report(*arguments: Any, wait: bool) -> int:
    return await asyncio.to_thread(report_client.report, *arguments, wait_s=60 if wait else None)


def write(folder: Path, name: str, content: bytes = PASSING) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content)
    return path


async def test_file_is_uploaded_and_its_status_is_printed(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "junit.xml")
    assert await report(url(reports), reports.api.key, "run_1", [str(file)], SHOP, wait=True) == STORED
    assert f"{file}: stored, 2 results (rcp_" in capsys.readouterr().out
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is True


async def test_upload_that_is_not_processed_in_time_is_an_error(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server, file = (url(reports), reports.api.key), str(write(tmp_path, "junit.xml"))
    assert await asyncio.to_thread(report_client.report, *server, "run_1", [file], SHOP, wait_s=0) == UNFINISHED
    output = capsys.readouterr()
    assert f"{file}: queued (rcp_" in output.out
    assert output.err == (
        f"Error: not processed after 0 s. The server stores the upload later: {url(reports)}readyz shows whether a"
        " consumer of reports runs\n"
    )


async def test_wait_for_the_processing_is_printed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client_runs, "_MESSAGE_S", 1)
    monkeypatch.setattr(client_runs, "_REQUEST_WAIT_S", 1)
    async with serving_reports(database_url, tmp_path) as reports:  # without a worker
        server, file = (url(reports), reports.api.key), str(write(tmp_path, "junit.xml"))
        assert await asyncio.to_thread(report_client.report, *server, "run_1", [file], SHOP, wait_s=2.5) == UNFINISHED
        (receipt,) = (await reports.api.get("/v1/receipts"))["data"]
    first, second, error = capsys.readouterr().err.splitlines()
    assert (first, second) == tuple(
        f"waiting until the report of {receipt['id']} is processed ({waited} s)" for waited in (1, 2)
    )
    assert error.startswith("Error: not processed after 2.5 s.")


async def test_replaced_failures_are_printed(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = write(tmp_path, "1.xml", PASSING.replace(b'time="0.5"/>', b"><failure/></testcase>"))
    passing = write(tmp_path, "2.xml")
    await report(url(reports), reports.api.key, "run_1", [str(failing)], SHOP, wait=True)
    assert "results replaced" not in capsys.readouterr().out
    await reports.api.store.pool.execute("UPDATE results SET event_time_offset_s = event_time_offset_s - 60")
    await report(url(reports), reports.api.key, "run_1", [str(passing)], SHOP, wait=True)
    assert "  earlier results replaced: 2, of these failing: 1\n" in capsys.readouterr().out


async def test_reports_of_a_folder_are_one_upload(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "results/TEST-a.xml")
    write(tmp_path, "results/web/b.xml", b'<testsuite name="web"><testcase/></testsuite>')
    write(tmp_path, "results/style.css", b"body {}")
    assert await report(url(reports), reports.api.key, "run_1", [str(tmp_path / "results")], SHOP, wait=True) == STORED
    assert "2 files: stored, 3 results (rcp_" in capsys.readouterr().out


async def test_archive_is_sent_unmodified(reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = pack_gzip({"a.xml": PASSING, "b.png": b""})
    file = write(tmp_path, "results.tar.gz", packed)
    assert await report(url(reports), reports.api.key, "run_1", [str(file)], SHOP, wait=True) == STORED
    output = capsys.readouterr().out
    assert f"{file}: stored, 2 results (rcp_" in output
    assert "  ignored: 1 file that isn't a report: b.png" in output
    [artifact] = (await reports.api.get("/v1/runs/run_1/artifacts"))["data"]
    assert (artifact["size"], artifact["name"].partition(".")[2]) == (len(packed), "tar.gz")


async def test_several_files_are_one_upload_with_one_receipt(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        write(tmp_path, f"target/m{number}/TEST-a.xml", f'<testsuite name="m{number}"><testcase/></testsuite>'.encode())
        write(tmp_path, f"target/m{number}/junitreports/TEST-a.xml")
    patterns = [f"{tmp_path}/target/*/TEST-*.xml"]
    assert await report(url(reports), reports.api.key, "run_1", patterns, SHOP, wait=True) == STORED
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["complete"], run["counts"]["passed"]) == (True, 3)
    assert "3 files: stored, 3 results (rcp_" in capsys.readouterr().out
    assert len((await reports.api.get("/v1/receipts"))["data"]) == 1
    names = {artifact["name"] for artifact in await reports.artifacts()}
    assert {name.partition(".")[2] for name in names} == {"xml.gz"}


async def test_relative_and_absolute_files_are_one_upload(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [str(write(tmp_path, "unit/junit.xml")), "e2e/junit.xml"]
    write(tmp_path, "e2e/junit.xml", b'<testsuite name="e2e"><testcase/></testsuite>')
    assert await report(url(reports), reports.api.key, "run_1", files, SHOP, wait=True) == STORED


async def test_malformed_file_rejects_the_upload_and_is_named(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(write(tmp_path, "broken.xml", b"<testsuite>")), str(write(tmp_path, "valid.xml"))]
    assert await report(url(reports), reports.api.key, "run_1", files, SHOP, wait=True) == REJECTED
    output = capsys.readouterr().out
    assert "2 files: rejected" in output
    assert "malformed_report: broken.xml: " in output
    await reports.api.error("/v1/runs/run_1", 404)


async def test_suite_file_of_testng_is_named_with_the_remedy(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = b'<!DOCTYPE suite SYSTEM "https://testng.org/testng-1.0.dtd"><suite name="Failed suite"/>'
    files = [str(write(tmp_path, "testng-failed.xml", suite)), str(write(tmp_path, "TEST-a.xml"))]
    assert await report(url(reports), reports.api.key, "run_1", files, SHOP, wait=True) == REJECTED
    output = capsys.readouterr().out
    assert "2 files: partial" in output
    assert "testng-failed.xml: configurations of TestNG, such as testng-failed.xml, can" in output
    assert "exclude them from the upload" in output


async def test_repeated_upload_returns_the_same_receipt(reports: Reports, tmp_path: Path) -> None:
    file = str(write(tmp_path, "junit.xml"))
    for _ in range(2):
        os.utime(file, (0, 0))
        await report(url(reports), reports.api.key, "run_1", [file], SHOP, wait=True)
    assert len((await reports.api.get("/v1/receipts"))["data"]) == 1


@pytest.mark.parametrize("wait", [True, False])
async def test_upload_of_a_deleted_run_is_an_error(reports: Reports, tmp_path: Path, *, wait: bool) -> None:
    upload = url(reports), reports.api.key, "run_1", [str(write(tmp_path, "junit.xml"))]
    assert await report(*upload, SHOP, wait=True) == STORED
    admin = (await reports.api.make_key("admin")).key
    assert (await reports.api.send("DELETE", "/v1/runs/run_1", key=admin)).status == 204
    with pytest.raises(ClientError, match=r"run run_1 was deleted after this upload was stored \(rcp_\w+\)"):
        await report(*upload, SHOP, wait=wait)
    assert await report(*upload, [*SHOP, ("labels", "attempt:2")], wait=True) == STORED


async def test_more_files_than_a_form_permits_are_one_archive(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.client.report_files._MAX_PARTS", 2)
    for number in range(3):
        write(tmp_path, f"results/{number}.xml", f'<testsuite name="{number}"><testcase/></testsuite>'.encode())
    for _ in range(2):
        await report(url(reports), reports.api.key, "run_1", [str(tmp_path / "results")], SHOP, wait=True)
    assert (await reports.api.get("/v1/runs/run_1"))["counts"]["passed"] == 3
    assert len((await reports.api.get("/v1/receipts"))["data"]) == 1
    [artifact] = (await reports.api.get("/v1/runs/run_1/artifacts"))["data"]
    assert artifact["content_type"] == "application/zip"


async def test_missing_file_and_invalid_shard_are_errors(reports: Reports, tmp_path: Path) -> None:
    for name in ("nowhere.xml", "*.nothing"):
        with pytest.raises(ClientError, match="file not found"):
            await report(url(reports), reports.api.key, "run_1", [str(tmp_path / name)], SHOP, wait=False)
    file = str(write(tmp_path, "a.xml"))
    with pytest.raises(ClientError, match="shard"):
        await report(url(reports), reports.api.key, "run_1", [file], [*SHOP, ("shard", "9/8")], wait=False)


async def test_empty_file_is_not_uploaded(reports: Reports, tmp_path: Path) -> None:
    files = [str(write(tmp_path, "valid.xml")), str(write(tmp_path, "empty.xml", b""))]
    with pytest.raises(ClientError, match=r"empty\.xml is empty"):
        await report(url(reports), reports.api.key, "run_1", files, SHOP, wait=False)
    assert (await reports.api.get("/v1/receipts"))["data"] == []


async def test_command_uses_the_metadata_of_the_ci_job(reports: Reports, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "RESULTS_"))}
    environment |= {
        "RESULTS_URL": url(reports), "RESULTS_API_KEY": reports.api.key, "RESULTS_PROJECT": "shop",
        "GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_NAME": "unit tests", "CI_COMMIT_SHA": "c0ffee",
        "CI_JOB_URL": "https://gitlab.example/7", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "fix",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_MERGE_REQUEST_IID": "12", "GITLAB_USER_LOGIN": "mona",
        "CI_MERGE_REQUEST_TITLE": "Round totals", "CI_PROJECT_URL": "https://gitlab.example/acme/shop",
    }  # fmt: skip
    command = [sys.executable, "-m", "service", "report", str(write(tmp_path, "junit.xml")), "--wait"]
    options = ["--label", "team:web", "--variant", "os:linux", "--variant", "python:3.12", "--workflow", "Tests"]
    process = await asyncio.create_subprocess_exec(*command, *options, env=environment)
    assert await process.wait() == 0
    run = await reports.api.get("/v1/runs/gitlab-7-unit-tests")
    assert (run["branch"], run["commit_sha"], run["ci_url"]) == ("fix", "c0ffee", "https://gitlab.example/7")
    assert (run["base_branch"], run["pull_request"], run["complete"]) == ("main", "12", True)
    assert (run["pipeline"], run["title"], run["author"]) == ("gitlab-7", "Round totals", "mona")
    assert (run["workflow"], run["job_url"]) == ("Tests", "https://gitlab.example/7")
    assert run["repository_url"] == "https://gitlab.example/acme/shop"
    assert run["labels"] == {"team": "web"}
    items = (await reports.api.get("/v1/results"))["data"]
    assert [item["variant"] for item in items] == [{"os": "linux", "python": "3.12"}] * 2


async def test_server_accepts_the_metadata_of_all_recorded_jobs(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SYSTEMS, *(name for name in os.environ if name.startswith(("GITHUB_", "RESULTS_")))):
        monkeypatch.delenv(name, raising=False)
    server = {"RESULTS_URL": url(reports), "RESULTS_API_KEY": reports.api.key, "RESULTS_PROJECT": "shop"}
    command = ["report", str(write(tmp_path, "junit.xml"))]
    for recorded in recorded_jobs():
        variables = recorded.with_event(tmp_path)
        result = await asyncio.to_thread(CliRunner().invoke, client, command, env=variables | server)
        assert (result.exit_code, result.stderr) == (0, ""), recorded.name


@pytest.mark.parametrize(
    ("option", "text", "stored"),
    [("--title", "Round totals\n\nOnce.", "Round totals"), ("--author", "x" * 300, "x" * 199 + "…")],
)
async def test_long_title_is_shortened(
    reports: Reports, tmp_path: Path, command: Callable[..., Awaitable[Result]], option: str, text: str, stored: str
) -> None:
    result = await command(str(write(tmp_path, "junit.xml")), "--run-id", "run_1", option, text, "--wait")
    assert result.exit_code == 0, result.output
    assert (await reports.api.get("/v1/runs/run_1"))[option.removeprefix("--")] == stored


@pytest.mark.parametrize(("part", "flaky"), [((), 0), (("--part", "unit"), 1)])
async def test_attempt_of_a_job_without_a_name_is_not_sent(
    reports: Reports, tmp_path: Path, command: Callable[..., Awaitable[Result]], part: tuple[str, ...], flaky: int
) -> None:
    failing = PASSING.replace(b'time="0.5"/>', b"><failure/></testcase>")
    for attempt, content in (("1", failing), ("2", PASSING)):
        variables = {"GITHUB_JOB": "", "GITHUB_RUN_ATTEMPT": attempt}
        await command(str(write(tmp_path, "a.xml", content)), "--run-id", "run_1", "--wait", *part, **variables)
    assert (await reports.api.get("/v1/runs/run_1"))["counts"]["flaky"] == flaky


@pytest.fixture
def command(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[Result]]:
    """Run the command in a job of GitHub Actions."""
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "RESULTS_"))]:
        monkeypatch.delenv(name)
    variables = {
        "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "12", "GITHUB_JOB": "test", "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "o/r", "RESULTS_URL": url(reports), "RESULTS_API_KEY": reports.api.key,
        "RESULTS_PROJECT": "shop",
    }  # fmt: skip

    async def run(*arguments: str, **more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, client, ["report", *arguments], env=variables | more)

    return run


async def test_jobs_of_a_pipeline_share_an_open_run(
    reports: Reports, command: Callable[..., Awaitable[Result]], tmp_path: Path
) -> None:
    for name, variant in (("a.xml", "os:linux"), ("b.xml", "os:mac")):
        result = await command(str(write(tmp_path, name)), "--pipeline", "--variant", variant, "--wait")
        assert result.exit_code == 0, result.output
    run = await reports.api.get("/v1/runs/github-12:shop")
    assert (run["complete"], run["counts"]["passed"]) == (False, 4)


async def test_projects_of_a_pipeline_have_their_own_runs(
    reports: Reports, command: Callable[..., Awaitable[Result]], tmp_path: Path
) -> None:
    for project in ("shop", "web store"):
        result = await command(str(write(tmp_path, "a.xml")), "--pipeline", "--project", project, "--wait")
        assert result.exit_code == 0, result.output
    runs = (await reports.api.get("/v1/runs", {"pipeline": "github-12"}))["data"]
    assert {run["run_id"]: run["project_id"] for run in runs} == {
        "github-12:shop": "shop", "github-12:web-store-724abf5557b9": "web store",
    }  # fmt: skip


async def test_shards_of_a_pipeline_complete_the_run(
    reports: Reports, command: Callable[..., Awaitable[Result]], tmp_path: Path
) -> None:
    await command(str(write(tmp_path, "a.xml")), "--pipeline", "--shard", "1/2", "--wait")
    await command(str(write(tmp_path, "b.xml", PASSING + b" ")), "--pipeline", "--shard", "2/2", "--wait")
    assert (await reports.api.get("/v1/runs/github-12:shop"))["complete"] is True


async def test_files_without_results_are_an_error_unless_allowed(
    reports: Reports, tmp_path: Path, command: Callable[..., Awaitable[Result]]
) -> None:
    file = str(write(tmp_path, "a.xml", b"<testsuites/>"))
    empty = await command(file, "--run-id", "run_1", "--wait")
    assert "  results: the upload contains none. A run without results has the status error." in empty.output
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "error"
    allowed = await command(file, "--run-id", "run_2", "--wait", "--allow-empty")
    assert "contains none" not in allowed.output
    assert (await reports.api.get("/v1/runs/run_2"))["status"] == "passed"


async def test_run_that_is_not_final_stays_open(
    reports: Reports, command: Callable[..., Awaitable[Result]], tmp_path: Path
) -> None:
    await command(str(write(tmp_path, "a.xml")), "--run-id", "run_1", "--not-final", "--wait")
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is False


async def test_run_is_printed_and_written_to_the_outputs_of_the_step(
    reports: Reports, command: Callable[..., Awaitable[Result]], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    result = await command(str(write(tmp_path, "a.xml")), "--wait", GITHUB_OUTPUT=str(outputs))
    run_url = f"{url(reports)}console/runs/github-12-test"
    receipt = (await reports.api.get("/v1/receipts"))["data"][0]["id"]
    assert result.stdout.splitlines()[-1] == f"run github-12-test: {run_url}"
    assert outputs.read_text() == (
        f"run_id=github-12-test\nrun_url={run_url}\nreceipt_id={receipt}\nproject=shop\npipeline=github-12\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--run-id", "run_1", "--pipeline"), "--run-id: can't be combined with --pipeline"),
        (("--pipeline",), "--pipeline: can't be used outside of a known CI system. Use --run-id"),
        ((), "--run-id: must be set outside of a known CI system"),
    ],
)
def test_run_must_be_known(arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SYSTEMS:
        monkeypatch.delenv(name, raising=False)
    options = ["--url", "http://127.0.0.1:9", "--key", "zof_1", "--project", "shop", "a.xml"]
    result = CliRunner().invoke(client, ["report", *options, *arguments])
    assert result.exit_code == 2
    assert f"Error: {message}" in result.stderr


async def test_absolute_files_are_relative_to_the_root_of_the_repository(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    file = write(tmp_path / "repository" / "web", "junit.xml")
    tested = tmp_path / "repository" / "web" / "cart_test.py"
    file.write_text(f"<testsuite name='s'><testcase name='c' file='{tested}'><failure/></testcase></testsuite>")
    monkeypatch.chdir(file.parent)
    found = []
    for run_id, fields in (("run_1", SHOP), ("run_2", [*SHOP, ("root", "/app")])):
        await report(url(reports), reports.api.key, run_id, [str(file)], fields, wait=True)
        result = (await reports.api.get("/v1/results", {"run_id": run_id}))["data"][0]
        found.append((result["suite"], result["file"]))

    assert found == [("s", "web/cart_test.py"), ("s", "cart_test.py")]


def test_root_is_sent_only_if_a_report_contains_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside, outside = write(tmp_path, "1.xml", f"{tmp_path}/a.py".encode()), write(tmp_path, "2.xml", b"/src/a.py")

    assert find_root([outside]) is None
    assert find_root([outside, inside]) == str(tmp_path)
    monkeypatch.chdir("/")
    assert find_root([inside]) is None


async def test_hint_names_one_file_that_the_checkout_lacks_and_the_option(
    reports: Reports, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("api", "web"):
        write(tmp_path / "art" / name, "junit.xml", PASSING.replace(b"<testcase ", b'<testcase file="cart.test.js" '))
    await report(url(reports), reports.api.key, "run_1", ["art/*/*.xml"], SHOP, wait=True)
    assert capsys.readouterr().err == (
        "hint: cart.test.js, which art/api/junit.xml names, was not found from the root of the repository, so links to"
        " files can be wrong. State the folder to which these files are relative: --path-prefix FOLDER, or"
        " --path-prefix . for the root\n"
    )
    stated = [*SHOP, ("path_prefix", "")]
    await report(url(reports), reports.api.key, "run_1", ["art/*/*.xml"], stated, wait=True)
    assert capsys.readouterr().err == ""
