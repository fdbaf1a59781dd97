"""The command `run`: reports are delivered, and the code is 0 only if all failures are proven to be quarantined."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gates.excusing import Jobs, junit
from tests.report_api import serving_reports_with_ingester
from tests.runner.executions import COUNTING, JOB, STATED, TIMEOUT_S, Checkout

pytestmark = pytest.mark.slow

FAILING = junit({"a": "failed", "b": "passed", "c": "passed"})
PASSING = junit({"a": "passed", "b": "passed", "c": "passed"})
REPORT = ("--report", "junit.xml")
PYTEST = ("--", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
SPLITTING = """
import json, os, pathlib, shutil, subprocess
command = [*json.loads(os.environ["RESULTS_CLIENT"]), "split", "--total=1", "--index=1"]
part = subprocess.run(command, input=b"a.py\\nb.py\\n", stdout=subprocess.PIPE, check=True).stdout
pathlib.Path("part.txt").write_bytes(part)
shutil.copy(".source.xml", "junit.xml")
"""
PYTEST_TESTS = "def test_a(): assert 0\ndef test_b(): pass\n"


@pytest.fixture
async def jobs(database_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as reports:
        yield Jobs(reports)


@pytest.fixture
async def checkout(jobs: Jobs, tmp_path: Path) -> Checkout:
    return Checkout.of_server(tmp_path / "checkout", jobs, (await jobs.api.make_key("uploader")).key)


@pytest.fixture
async def quarantined(jobs: Jobs) -> Jobs:
    """The test `a` is quarantined, and the base branch has a complete run."""
    await jobs.store_baseline(PASSING, part="unit", attempt="1")
    await jobs.quarantine()
    return jobs


async def test_quarantined_failures_are_excused(quarantined: Jobs, checkout: Checkout) -> None:
    command = checkout.failing_with(1, FAILING)
    ended = await checkout.run(*JOB, *COUNTING, *REPORT, *command)

    assert (ended.code, ended.stdout) == (0, b""), ended.stderr
    receipt, run, decision, excused = ended.stderr.splitlines()
    assert receipt.startswith("junit.xml: stored, 3 results (rcp_")
    assert run.startswith("run run_1: http://")
    assert decision == "run: the exit code is 0 instead of 1, because all failing tests are quarantined:"
    assert excused.startswith("  shop > a (qua_")
    assert checkout.entries == []
    stored = await quarantined.api.get("/v1/runs/run_1")
    assert (stored["status"], stored["counts"]["failed"]) == ("failed", 1)


async def test_other_failures_are_not_excused(quarantined: Jobs, checkout: Checkout) -> None:
    report = junit({"a": "failed", "b": "failed", "c": "passed"})
    ended = await checkout.run(*JOB, *COUNTING, *REPORT, *checkout.failing_with(2, report))

    assert (ended.code, ended.doubts) == (2, ["quarantines"])
    assert "run: the exit code stays 2, because the failures can't be excused:" in ended.stderr


async def test_number_that_the_tool_states_must_be_stored(quarantined: Jobs, checkout: Checkout) -> None:
    ended = await checkout.run(*JOB, *COUNTING, *REPORT, *checkout.failing_with(2, FAILING))
    assert (ended.code, ended.doubts) == (2, ["failures"])


async def test_missing_cases_are_allowed_only_by_an_option(quarantined: Jobs, checkout: Checkout) -> None:
    command = *STATED, *REPORT, *checkout.failing_with(1, junit({"a": "failed"}))
    ended = await checkout.run(*JOB, *command)
    assert (ended.code, ended.doubts) == (1, ["missing_cases"])
    allowed = await checkout.run("--run-id", "run_2", *JOB[2:], "--allow-missing-cases", *command)
    assert allowed.code == 0, allowed.stderr


async def test_code_0_is_never_changed(quarantined: Jobs, checkout: Checkout) -> None:
    ended = await checkout.run(*JOB, *COUNTING, *REPORT, *checkout.failing_with(0, FAILING))
    assert (ended.code, len(ended.stderr.splitlines())) == (0, 2), ended.stderr
    assert (await quarantined.api.get("/v1/runs/run_1"))["status"] == "failed"


async def test_another_code_is_not_excused(quarantined: Jobs, checkout: Checkout) -> None:
    ended = await checkout.run(*JOB, *STATED, *REPORT, *checkout.failing_with(2, FAILING))
    assert (ended.code, ended.doubts) == (2, ["exit_code"])
    assert (await quarantined.api.get("/v1/runs/run_1"))["counts"]["failed"] == 1


async def test_streams_belong_to_the_command(checkout: Checkout) -> None:
    sent = bytes(range(256)) * 100
    ended = await checkout.run(*JOB, "--", "sh", "-c", "cat; echo problem >&2", stdin=sent)
    assert (ended.code, ended.stdout) == (0, sent)
    assert ended.stderr.splitlines()[0] == "problem"


async def test_stale_report_is_not_sent(quarantined: Jobs, checkout: Checkout) -> None:
    checkout.write("junit.xml", FAILING)
    for command in (["--", "sh", "-c", "exit 1"], ["--", "sh", "-c", "cat junit.xml >/dev/null; exit 1"]):
        ended = await checkout.run(*JOB, *STATED, *REPORT, *command)
        assert (ended.code, ended.doubts) == (1, ["reports"])
        assert "  reports: not written by the command: junit.xml" in ended.stderr
    assert (await quarantined.api.get("/v1/receipts", {"run_id": "run_1"}))["data"] == []
    assert checkout.entries == []


async def test_older_report_that_the_command_moves_is_not_sent(quarantined: Jobs, checkout: Checkout) -> None:
    checkout.write("cache/junit.xml", FAILING)
    ended = await checkout.run(*JOB, *STATED, *REPORT, "--", "sh", "-c", "mv cache/junit.xml .; exit 1")
    assert (ended.code, ended.doubts) == (1, ["reports"])
    assert "  reports: not written by the command: junit.xml" in ended.stderr


async def test_report_that_the_command_writes_again_is_sent(quarantined: Jobs, checkout: Checkout) -> None:
    checkout.write("junit.xml", FAILING)
    ended = await checkout.run(*JOB, *STATED, *REPORT, *checkout.failing_with(1, FAILING))
    assert ended.code == 0, ended.stderr


async def test_only_new_reports_of_a_folder_are_sent(jobs: Jobs, checkout: Checkout) -> None:
    checkout.write("out/old.xml", junit({"old": "passed"}))
    command = checkout.failing_with(0, FAILING, "out/new.xml")
    ended = await checkout.run(*JOB, "--report", "out", *command)
    assert "skipped: out/old.xml: not written by the command" in ended.stderr
    counts = (await jobs.api.get("/v1/runs/run_1"))["counts"]
    assert (counts["passed"], counts["failed"]) == (2, 1)


async def test_reports_of_a_pattern_are_one_upload_without_ignored_ones(quarantined: Jobs, checkout: Checkout) -> None:
    script = "mkdir m1 m2 && cp .source-junit.xml m1/a.xml && cp .source-junit.xml m2/b.xml; exit 1"
    checkout.failing_with(1, FAILING)
    ended = await checkout.run(*JOB, *STATED, "--report", "m*/*.xml", "--ignore", "m2", "--", "sh", "-c", script)
    assert (ended.code, ended.doubts) == (1, ["reports"])
    assert "  reports: --ignore can leave out failures" in ended.stderr
    (receipt,) = (await quarantined.api.get("/v1/receipts", {"run_id": "run_1"}))["data"]
    assert receipt["results"] == 3


async def test_reports_at_usual_paths_are_sent(quarantined: Jobs, checkout: Checkout) -> None:
    name = "target/nextest/ci/junit.xml"
    command = *JOB, "--tool", "nextest", *checkout.failing_with(100, FAILING, name)
    checkout.write(name, PASSING)
    ended = await checkout.run(*command)
    assert ended.code == 0, ended.stderr
    other = await checkout.run(*JOB, "--tool", "nextest", "--", "sh", "-c", "exit 100")
    assert (other.code, other.doubts) == (100, ["reports"])
    assert "Name its reports: --report" in other.stderr


async def test_damaged_report_is_not_excused(quarantined: Jobs, checkout: Checkout) -> None:
    for number, content in enumerate((b"", FAILING[:-20], b"<html/>", FAILING.replace(b"'0.1'", b"'x'", 1))):
        ended = await checkout.run(*JOB, *STATED, *REPORT, *checkout.failing_with(1, content))
        assert (ended.code, "reports" in ended.doubts) == (1, True), (number, ended.stderr)


async def test_failure_outside_of_a_test_is_not_excused(quarantined: Jobs, checkout: Checkout) -> None:
    await quarantined.quarantine("[collection] tests/test_a.py", "shop")
    report = junit({"a": "failed", "b": "passed", "c": "passed"}).replace(
        b"</testsuite>", b"<testcase name='d'><error message='collection failure'/></testcase></testsuite>"
    )
    ended = await checkout.run(*JOB, *STATED, *REPORT, *checkout.failing_with(1, report))
    assert (ended.code, "outside_tests" in ended.doubts) == (1, True), ended.stderr


async def test_failures_of_pytest_are_excused_with_its_evidence(jobs: Jobs, checkout: Checkout) -> None:
    checkout.write("test_shop.py", PYTEST_TESTS)
    passing = junit({"test_a": "passed", "test_b": "passed"}, "pytest > test_shop")
    await jobs.store_baseline(passing, part="unit", attempt="1")
    quarantine = await jobs.quarantine("test_a", "pytest > test_shop")
    live = await checkout.run(*JOB, *PYTEST)
    assert live.code == 0, live.stderr
    assert f"  pytest > test_shop > test_a ({quarantine})" in live.stderr
    assert b"zof-results: failed, but quarantined: 1." in live.stdout
    xml = await checkout.run("--run-id", "run_2", *JOB[2:], *REPORT, *PYTEST, "--junitxml=junit.xml")
    assert xml.code == 0, xml.stderr
    assert b"quarantined" not in xml.stdout


@pytest.mark.parametrize(("signal", "code"), [(9, 137), (2, 2)])
async def test_session_that_a_signal_ends_is_an_error(jobs: Jobs, checkout: Checkout, signal: int, code: int) -> None:
    checkout.write("test_shop.py", f"import os\ndef test_a(): pass\ndef test_b(): os.kill(os.getpid(), {signal})\n")
    ended = await checkout.run(*JOB, *PYTEST)
    assert (ended.code, ended.doubts) == (code, ["exit_code"])
    run = await jobs.api.get("/v1/runs/run_1")
    assert (run["status"], run["counts"]["passed"]) == ("error", 1)


async def test_attachments_and_outputs_of_the_job(jobs: Jobs, checkout: Checkout, tmp_path: Path) -> None:
    checkout.variables["GITHUB_OUTPUT"] = str(tmp_path / "output")
    report = FAILING.replace(b"</testcase>", b"<system-out>[[ATTACHMENT|a.png]]</system-out></testcase>", 1)
    checkout.write("a.png", b"image")
    checkout.write("log.txt", b"text")
    ended = await checkout.run(*JOB, *STATED, *REPORT, "--attach", "*.txt", *checkout.failing_with(1, report))
    assert (ended.code, ended.stdout) == (1, b"")
    assert ended.stderr.splitlines()[-1] == "attachments: 2 of 2 files uploaded, 9 bytes"
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert (outputs["run_id"], outputs["project"]) == ("run_1", "shop")
    assert outputs["receipt_id"].startswith("rcp_")
    without = await checkout.run("--run-id", "run_2", *REPORT, "--no-attachments", *checkout.failing_with(0, report))
    assert "attachments" not in without.stderr


async def test_without_a_server_reports_stay_in_the_spool(jobs: Jobs, checkout: Checkout) -> None:
    for name in ("RESULTS_URL", "RESULTS_API_KEY"):
        variables = {key: value for key, value in checkout.variables.items() if key != name}
        alone = Checkout(checkout.folder, variables)
        ended = await alone.run(*JOB, *STATED, *REPORT, *alone.failing_with(1, FAILING))
        assert (ended.code, ended.doubts) == (1, ["server"])
        assert f"The reports stay in {checkout.entries[-1]}. Send them later" in ended.stderr
    assert len(checkout.entries) == 2


async def test_key_that_is_not_valid_keeps_the_reports(quarantined: Jobs, checkout: Checkout) -> None:
    checkout.variables["RESULTS_API_KEY"] = "zof_" + "0" * 40
    ended = await checkout.run(*JOB, *STATED, *REPORT, *checkout.failing_with(1, FAILING))
    assert (ended.code, ended.doubts) == (1, ["server"])
    assert "check RESULTS_API_KEY or --key" in ended.stderr
    assert len(checkout.entries) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--tests-failed-exit", "0"), ("--tests-failed-exit", "126"), ("--tool", "unknown"), ("--timeout", "0"),
        ("--shard", "9/8"), ("--unknown",), (),
    ],
)  # fmt: skip
async def test_invalid_options_start_no_command(tmp_path: Path, options: tuple[str, ...]) -> None:
    checkout = Checkout(tmp_path, {"RESULTS_PROJECT": "shop"} if options else {})
    ended = await checkout.run(*JOB, *options, "--", "touch", "started")
    assert ended.code == 2, ended.stderr
    assert not (tmp_path / "started").exists()


async def test_command_is_required(tmp_path: Path) -> None:
    assert (await Checkout(tmp_path, {"RESULTS_PROJECT": "shop"}).run(*JOB)).code == 2


async def test_unusable_spool_is_replaced(quarantined: Jobs, checkout: Checkout) -> None:
    checkout.write("file", b"")
    ended = await checkout.run(*JOB, *STATED, *REPORT, "--spool", "file/x", *checkout.failing_with(1, FAILING))
    assert ended.code == 0, ended.stderr
    assert "replaces the spool file/x, which can't be used: " in ended.stderr


async def test_closed_stderr_does_not_change_the_code(quarantined: Jobs, checkout: Checkout) -> None:
    for code in (0, 7):
        reader, writer = os.pipe()
        os.close(reader)
        process = checkout.start(*JOB, *REPORT, *checkout.failing_with(code, FAILING), stderr=writer)
        os.close(writer)
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == code


async def test_command_can_split_its_items(jobs: Jobs, checkout: Checkout) -> None:
    checkout.write(".source.xml", PASSING)
    command = ["--", sys.executable, checkout.write("split.py", SPLITTING)]
    ended = await checkout.run(*JOB, "--variant", "os:linux", "--variant", "python:3.13", *REPORT, *command)
    assert ended.code == 0, ended.stderr
    assert (checkout.folder / "part.txt").read_text() == "a.py\nb.py\n"
    (found,) = (await jobs.api.get("/v1/runs/run_1/splits"))["data"]
    assert (found["key"], found["variant"]) == ("tests os:linux python:3.13", {"os": "linux", "python": "3.13"})
    assert len(found["parts"][0]["receipts"]) == 1
    assert found["missing_items"] == []


async def test_command_that_may_have_stopped_early_executed_only_items_with_results(
    jobs: Jobs, checkout: Checkout
) -> None:
    checkout.write(".source.xml", PASSING)
    killed = f"{SPLITTING}os.kill(os.getpid(), 9)"
    ended = await checkout.run(*JOB, *REPORT, "--", sys.executable, checkout.write("split.py", killed))
    assert ended.code == 137, ended.stderr
    (found,) = (await jobs.api.get("/v1/runs/run_1/splits"))["data"]
    assert [(each["item"], each["reason"]) for each in found["missing_items"]] == [
        ("a.py", "no_results"),
        ("b.py", "no_results"),
    ]
