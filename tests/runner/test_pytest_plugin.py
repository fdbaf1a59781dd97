"""The plugin of pytest: its evidence, its results, and the failures that it excuses."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.report_api import Reports, serving_reports_with_ingester
from tests.runner.pytest_sessions import SUITES, kill_session, run_session

FAILING = "def test_pays(): assert 0, 'no money'\ndef test_ships(): pass\n"
# Different in both reports: IDs and times, and what only one of them contains.
DIFFERENT = {"id", "run_id", "run", "duration_ms", "completed_at", "artifacts_url", "url", "attempts"}


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path / "storage") as opened:
        yield opened


def test_evidence_and_results_of_a_failed_session(tmp_path: Path) -> None:
    session = run_session(tmp_path, FAILING)

    assert session.code == 1
    assert session.files == ["evidence", "quarantines.json", "results", "upload.json"]
    assert session.evidence == {
        "format": 1, "tool": "pytest", "version": pytest.__version__, "finished": True, "exit_code": 1,
        "failed_tests": 1, "problems": [],
    }  # fmt: skip
    assert session.statuses == {"test_pays": "failed", "test_ships": "passed"}


def test_session_without_live_results_writes_only_evidence(tmp_path: Path) -> None:
    session = run_session(tmp_path, FAILING, live=False, quarantined=["test_pays"])

    assert session.files == ["evidence", "quarantines.json", "upload.json"]
    assert (session.code, session.evidence["failed_tests"]) == (1, 1)
    assert "quarantined" not in session.output


@pytest.mark.parametrize("folder", ["", "missing"])
def test_plugin_does_nothing_without_a_folder(tmp_path: Path, folder: str) -> None:
    session = run_session(tmp_path, FAILING, RESULTS_SPOOL_FOLDER=folder)
    assert (session.code, session.files) == (1, ["quarantines.json", "upload.json"])


QUARANTINED = """
import pytest
@pytest.fixture
def broken(): raise OSError("setup broke")
@pytest.fixture
def unstable():
    yield
    raise OSError("teardown broke")
def test_a(): assert 0, "call broke"
def test_b(broken): pass
def test_c(unstable): pass
def test_d(subtests):
    for number in range(3):
        with subtests.test(number=number): assert number != 1
@pytest.mark.xfail(strict=True)
def test_e(): pass
def test_f(): pass
"""


@pytest.mark.parametrize("workers", [pytest.param((), id="alone"), pytest.param(("-n2",), marks=pytest.mark.slow)])
def test_quarantined_failures_do_not_stop_the_session(tmp_path: Path, workers: tuple[str, ...]) -> None:
    names = [f"test_{letter}" for letter in "abcde"]
    session = run_session(tmp_path, QUARANTINED, "-x", "-rfx", *workers, quarantined=names)

    assert (session.code, session.evidence["exit_code"]) == (1, 1), session.output
    assert (session.evidence["failed_tests"], session.evidence["problems"]) == (5, [])
    failing = dict(zip(names, ("failed", "error", "error", "failed", "failed"), strict=True))
    assert session.statuses == {**failing, "test_f": "passed"}
    assert session.results["test_a"]["failure"]["message"].startswith("AssertionError: call broke")
    assert "XFAIL test_shop.py::test_a - quarantined: qua_test_a" in session.output
    assert "FAILED" not in session.output  # nor the test that contains an excused subtest
    assert "zof-results: failed, but quarantined: 5. Only `zof-results run` excuses them." in session.output


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_other_failures_stop_the_session(tmp_path: Path, workers: tuple[str, ...]) -> None:
    tests = "def test_a(): assert 0\ndef test_b(): assert 0\ndef test_c(): pass\n"
    session = run_session(tmp_path, tests, "--maxfail=1", *workers, quarantined=["test_a"])

    assert session.statuses["test_a"] == session.statuses["test_b"] == "failed"
    assert session.evidence["failed_tests"] == 2
    assert session.code == (2 if workers else 1)
    if not workers:
        assert "test_c" not in session.results
        assert session.evidence["problems"] == []


WIDE = """
import pytest
@pytest.fixture(scope="{scope}"{more})
def wide():
    {before}
    yield
    {after}
def test_pays(wide): pass
def test_ships(wide): pass
"""
BROKEN = "raise OSError('broke')"


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
@pytest.mark.parametrize("more", ["", ", autouse=True"])
def test_failure_of_a_wide_fixture_is_not_excused(tmp_path: Path, scope: str, more: str) -> None:
    tests = WIDE.format(scope=scope, more=more, before=BROKEN, after="")
    session = run_session(tmp_path, tests, quarantined=["test_pays", "test_ships"])

    assert set(session.statuses.values()) == {"error"}
    assert session.evidence["problems"] == [f"setup: test_shop.py::{name}" for name in session.results]
    assert "quarantined" not in session.output


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["module", "session"])
def test_teardown_of_a_wide_fixture_is_not_excused(tmp_path: Path, scope: str) -> None:
    tests = WIDE.format(scope=scope, more="", before="", after=BROKEN)
    session = run_session(tmp_path, tests, quarantined=["test_pays", "test_ships"])

    assert session.statuses == {"test_pays": "passed", "test_ships": "error"}
    assert session.evidence["problems"] == ["teardown: test_shop.py::test_ships"]


FAIL = "def test_pays(): assert 0\n"
HOOK = "import os, pytest, sys, warnings\ndef {hook}(session):\n    {statement}\n"
UNRAISABLE = "class A:\n    def __del__(self): raise OSError\ndef test_b():\n    a = A()\n    a.a = a\n"
CHANGES_CODE = "exit_code: a plugin changed it"
# The problem that starts with the text, for a session whose only failing test is quarantined.
SECOND_CAUSES = [
    pytest.param({"test_b.py": "import missing"}, (), "collection: test_b.py", id="collection"),
    pytest.param({"test_b.py": "import missing"}, ("--continue-on-collection-errors",), "collection: test_b.py"),
    pytest.param({"test_b.py": "def test_b(missing): pass"}, (), "setup: test_b.py::test_b", id="unknown fixture"),
    pytest.param({"test_b.py": "def test_b(): raise KeyboardInterrupt"}, (), "interrupted: KeyboardInterrupt()"),
    pytest.param({"test_b.py": "import pytest\ndef test_b(): pytest.exit('no', 1)"}, (), "interrupted: no", id="exit"),
    pytest.param({"test_b.py": "def test_b(request): request.session.shouldfail = 'other'"}, (), "session: ['other']"),
    pytest.param(
        {"test_b.py": "def setup_module(): raise OSError\ndef test_b(): pass"}, (), "setup: test_b.py::test_b"
    ),
    pytest.param(
        {"conftest.py": HOOK.format(hook="pytest_sessionfinish", statement="session.exitstatus = 1")}, (), CHANGES_CODE,
        id="same exit status",
    ),
    pytest.param(
        {"conftest.py": HOOK.format(hook="pytest_sessionfinish", statement="session.exitstatus = 7")}, (),
        "exit_code: 7 doesn't state failed tests", id="other exit status",
    ),
    pytest.param(
        {"conftest.py": HOOK.format(hook="pytest_sessionfinish", statement=BROKEN)}, (), "end of the session: broke",
        id="exception at the end",
    ),
    pytest.param(
        {"conftest.py": "def pytest_unconfigure(): raise OSError"}, (), "exit_code: pytest ended with OSError()",
        id="exception in unconfigure",
    ),
    pytest.param(
        {"conftest.py": "def pytest_runtest_logfinish(): raise OSError"}, (), "internal error: ", id="internal error"
    ),
    pytest.param(
        {"shop.py": "if 0:\n    pay()\n"}, ("--cov=.", "--cov-fail-under=100"),
        "exit_code: pytest counts", id="coverage",
    ),
    pytest.param({"test_b.py": "import os\ndef test_b(): os._exit(3)"}, ("-n1",), "worker: test_b.py::test_b"),
    pytest.param(
        {"conftest.py": "import gc\ngc.disable()", "test_b.py": UNRAISABLE}, ("-Werror", "-pno:asyncio"),
        "exit_code: pytest ended with", id="unraisable exception",
    ),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("files", "arguments", "problem"), SECOND_CAUSES)
def test_second_cause_is_a_problem(
    tmp_path: Path, files: dict[str, str], arguments: tuple[str, ...], problem: str
) -> None:
    session = run_session(tmp_path, {"test_shop.py": FAIL, **files}, *arguments, quarantined=["test_pays"])

    assert session.code != 0
    assert session.evidence["finished"] == (session.evidence["exit_code"] in (0, 1, 5))
    assert any(found.startswith(problem) for found in session.evidence["problems"]), (session.evidence, session.output)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "arguments", "problem"), [each for each in SECOND_CAUSES if each.id in ("coverage", "same exit status")]
)
def test_second_cause_of_a_counted_failure_is_a_problem(
    tmp_path: Path, files: dict[str, str], arguments: tuple[str, ...], problem: str
) -> None:
    session = run_session(tmp_path, {"test_shop.py": FAIL, **files}, *arguments, live=False)

    assert (session.code, session.evidence["exit_code"], session.evidence["failed_tests"]) == (1, 1, 1)
    assert [found[: len(problem)] for found in session.evidence["problems"]] == [problem]


@pytest.mark.slow
def test_evidence_of_an_ended_process_is_unfinished(tmp_path: Path) -> None:
    session = run_session(tmp_path, {"test_shop.py": FAIL, "test_z.py": "import os\ndef test_z(): os._exit(1)"})

    assert (session.code, session.evidence["finished"]) == (1, False)
    assert session.statuses == {"test_pays": "failed"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    ["import pytest; pytest.main()", "import pytest; pytest.main(); pytest.main()"],
)
def test_program_that_calls_pytest_is_a_problem(tmp_path: Path, program: str) -> None:
    session = run_session(tmp_path, FAIL, command=(sys.executable, "-c", program))

    problems = session.evidence["problems"]
    assert problems[0] == "exit_code: a program started pytest, and can exit with the code for another reason"
    assert problems[1:] == ["session: pytest ran more than once in one process"] * (program.count("main") - 1)


@pytest.mark.slow
def test_nested_sessions_leave_no_evidence(tmp_path: Path) -> None:
    nested = (
        "import subprocess, sys\npytest_plugins = 'pytester'\n"
        "def test_pays(): subprocess.run([sys.executable, '-m', 'pytest', '--co'])\n"
        "def test_ships(pytester):\n"
        "    pytester.makepyfile('def test_inner(): assert 0')\n"
        "    assert pytester.runpytest_inprocess().ret == 1\n"
    )
    session = run_session(tmp_path, nested)

    assert session.statuses == {"test_pays": "passed", "test_ships": "passed"}
    assert (session.code, session.evidence["failed_tests"]) == (0, 0)


async def upload(reports: Reports, run_id: str, body: bytes) -> dict[tuple[str, str], Any]:
    """Upload a report, and return its results by suite and name."""
    kind = "application/xml" if body.startswith(b"<") else "application/x-ndjson"
    receipt = await reports.ingest(body, run_id, Content_Type=kind)
    assert receipt["status"] == "stored"
    assert kind == "application/xml" or not receipt["problems"]
    listed = (await reports.api.get("/v1/results", {"run_id": run_id, "limit": "1000"}))["data"]
    results = [await reports.api.get(f"/v1/results/{result['id']}") for result in listed]
    return {(result["suite"], result["name"]): result for result in results}


@pytest.mark.parametrize("workers", [pytest.param((), id="alone"), pytest.param(("-n2",), marks=pytest.mark.slow)])
async def test_results_equal_those_of_junit_xml(reports: Reports, tmp_path: Path, workers: tuple[str, ...]) -> None:
    files = {f"test_{path.stem}.py": path.read_text() for path in SUITES.glob("*.txt") if "rerun" not in path.name}
    files |= {"test_broken.py": "import missing", "test_absent.py": "import pytest\npytest.importorskip('missing')"}
    arguments = (
        "--junitxml=junit.xml",
        "-ojunit_family=xunit1",
        "--doctest-modules",
        "--continue-on-collection-errors",
    )
    session = await asyncio.to_thread(run_session, tmp_path, files, *arguments, *workers)
    assert session.evidence["finished"], session.output

    live = await upload(reports, "live", session.report)
    junit = await upload(reports, "junit", (tmp_path / "project" / "junit.xml").read_bytes())

    assert len(live) > 40
    assert {"passed", "failed", "error", "skipped"} == {result["status"] for result in live.values()}
    different = {}
    for names, expected in junit.items():
        found = live.pop(names, None) or live.pop(("pytest", names[1]))
        if keys := compare(found, expected):
            different[names] = keys
    if (
        workers
    ):  # JUnit XML has a second case for the error of a teardown, which another test can separate from the first
        different.pop(("pytest > test_all", "test_both"), None)
    # In JUnit XML, the suite of a module is its file if the report states files, and a module can have several errors.
    for module in ("test_absent", "test_broken"):
        fields = different.pop((f"{module}.py > pytest", module)).keys()
        assert fields <= {"suite", "case", "fingerprint", "failure", "attempt_details"}
    assert (different, live) == ({}, {})


def compare(found: Any, expected: Any) -> dict[str, Any]:
    """Return the fields that are different in the result of the plugin and in the one of JUnit XML."""
    keys = found.keys() | expected.keys()
    for own, other in [(found, expected), *zip(found["attempt_details"], expected["attempt_details"], strict=False)]:
        assert abs(own["duration_ms"] - other["duration_ms"]) <= 2
        own["duration_ms"] = other["duration_ms"]
    return {key: (found.get(key), expected.get(key)) for key in keys - DIFFERENT if found.get(key) != expected.get(key)}


NAMES = """
import pytest
@pytest.mark.parametrize("path", ["/home/ann/cart.json", "/tmp/pytest-of-ann/pytest-3/cart.json"])
def test_reads(path): pass
@pytest.mark.parametrize("cart", [1], ids=["<Cart object at 0x7f2c001a>"])
def test_pays(cart): pass
"""


async def test_names_are_the_same_on_every_machine(reports: Reports, tmp_path: Path) -> None:
    session = await asyncio.to_thread(run_session, tmp_path, NAMES)

    found = {name for _, name in await upload(reports, "live", session.report)}
    assert found == {"test_reads[~/cart.json]", "test_reads[/tmp/cart.json]", "test_pays[<Cart object>]"}


KILLED = "import time\ndef test_pays(): assert 0\ndef test_ships(): pass\ndef test_waits():\n    time.sleep(60)\n"


@pytest.mark.slow
@pytest.mark.parametrize("torn", [b"", b'{"suite": "pytest > test_shop", "name": "test_wai'])
async def test_killed_session_loses_no_ended_test(reports: Reports, tmp_path: Path, torn: bytes) -> None:
    session = await asyncio.to_thread(kill_session, tmp_path, KILLED, b"test_ships")

    assert session.statuses == {"test_pays": "failed", "test_ships": "passed"}
    assert not session.evidence["finished"]
    if not torn:
        assert len(await upload(reports, "killed", session.report)) == 2
    else:  # the service stores nothing of a report that it can't read to its end
        receipt = await reports.ingest(session.report + torn, "torn", Content_Type="application/x-ndjson")
        assert (receipt["status"], receipt["problems"][0]["reason"][:16]) == ("rejected", "malformed_report")
