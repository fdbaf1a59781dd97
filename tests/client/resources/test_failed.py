"""The command `failed`: the selection of the failed or missing tests of a run, or of all runs of a pipeline."""

from typing import Any

import pytest

from service.client import failed
from service.client.http import ClientError
from service.client.pipelines import find_runs
from service.comparison import compare_runs
from tests.client.resources.running import CommandLine
from tests.run_events import result, run_event

WAIT = "warning: more tests than necessary are selected, because the tool can't select these exactly:\n"


def case(name: str, status: str = "failed", **fields: Any) -> dict[str, Any]:
    return result(name, status, suite="pytest > tests.test_cart", file="tests/test_cart.py", **fields)


async def test_failed_tests_of_a_run_are_printed_once(command_line: CommandLine) -> None:
    flaky = case("flaky", "passed", attempts=[{"status": "failed"}, {"status": "passed"}])
    variants = [case("pays", variant={"os": os}) for os in ("linux", "mac")]
    results = [*variants, case("ships", "error"), case("passes", "passed"), case("skipped", "skipped"), flaky]
    await command_line.api.store.ingest(run_event("run_1", results))
    printed = await command_line.invoke("failed", "--run-id", "run_1")
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert printed.stdout == "pytest > tests.test_cart > pays\npytest > tests.test_cart > ships\n"
    nodes = await command_line.run("failed", "--run-id", "run_1", "--format", "pytest")
    assert nodes == "tests/test_cart.py::pays\ntests/test_cart.py::ships\n"


async def test_run_without_failures_prints_nothing(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1", [case("passes", "passed")]))
    printed = await command_line.invoke("failed", "--run-id", "run_1", "--format", "pytest")
    assert (printed.exit_code, printed.stdout, printed.stderr) == (0, "", "no failed tests\n")


async def test_all_pages_are_read(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed, "_PAGE", "2")
    await command_line.api.store.ingest(run_event("run_1", [case(f"test_{number}") for number in range(5)]))
    assert len((await command_line.run("failed", "--run-id", "run_1")).splitlines()) == 5


async def test_failed_tests_of_all_runs_of_a_pipeline_are_printed(command_line: CommandLine) -> None:
    for project in ("shop", "blog"):
        event = run_event(f"github-7:{project}", [case(f"of_{project}")], project_id=project, pipeline="github-7")
        await command_line.api.store.ingest(event)
    job = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7", "RESULTS_PROJECT": "shop"}
    both = await command_line.run("failed", "--pipeline", "--format", "pytest", **job)
    assert both.splitlines() == ["tests/test_cart.py::of_blog", "tests/test_cart.py::of_shop"]
    one = await command_line.run("failed", "--pipeline", "--project", "blog", "--format", "pytest", **job)
    assert one.splitlines() == ["tests/test_cart.py::of_blog"]
    none = await command_line.invoke("failed", "--pipeline", **job | {"GITHUB_RUN_ID": "8"})
    assert isinstance(none.exception, ClientError)
    assert str(none.exception) == "pipeline github-8 has no run that the key can read"


async def test_missing_tests_are_those_that_the_baseline_executed(command_line: CommandLine) -> None:
    kept = [case("kept", "passed")]
    lacking = [case("gone", "passed"), case("skipped", "skipped"), case("failed_before")]
    await command_line.api.store.ingest(
        run_event("run_1", [*kept, *lacking], branch="main"),
        run_event("run_2", [*kept, case("fails")], base_branch="main", time="2026-05-21T12:00:00Z"),
    )
    printed = await command_line.run("failed", "--run-id", "run_2", "--missing", "--format", "pytest")
    assert printed.splitlines() == ["tests/test_cart.py::failed_before", "tests/test_cart.py::gone"]
    first = await command_line.invoke("failed", "--run-id", "run_1", "--missing")
    assert isinstance(first.exception, ClientError)
    assert "are unknown, because no earlier run can be compared with" in str(first.exception)
    await command_line.api.store.ingest(
        run_event("run_3", [*kept, *lacking], base_branch="main", time="2026-05-21T13:00:00Z")
    )
    assert (await command_line.invoke("failed", "--run-id", "run_3", "--missing")).stderr == "no missing tests\n"


@pytest.mark.parametrize(
    ("run", "warning"),
    [
        ({"final": False}, "warning: run run_1 isn't complete, so tests can be missing in the selection\n"),
        ({"status": "error"}, "warning: run run_1 (error) has failures that no result states, so run all tests\n"),
    ],
)
async def test_unknown_failures_are_a_warning(command_line: CommandLine, run: dict[str, Any], warning: str) -> None:
    await command_line.api.store.ingest(run_event("run_1", [case("passes", "passed")], **run))
    printed = await command_line.invoke("failed", "--run-id", "run_1")
    assert (printed.exit_code, printed.stdout, printed.stderr) == (0, "", f"{warning}no failed tests\n")


async def test_failures_that_no_result_states_are_a_warning_although_others_are_selected(
    command_line: CommandLine,
) -> None:
    contradicting = case("rejected", attempts=[{"status": "failed"}, {"status": "passed"}])
    await command_line.api.store.ingest(run_event("run_1", [case("fails"), contradicting]))
    printed = await command_line.invoke("failed", "--run-id", "run_1")
    assert printed.stdout == "pytest > tests.test_cart > fails\n"
    assert printed.stderr == "warning: run run_1 (error) has failures that no result states, so run all tests\n"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (None, "run run_1 doesn't exist yet, because its reports aren't processed"),
        ({"results_expired": True}, "the results of run run_1 have expired"),
    ],
)
async def test_tests_of_a_run_without_results_are_unknown(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any] | None, message: str
) -> None:
    def change_runs(*arguments: Any, **options: Any) -> dict[str, Any]:
        found = find_runs(*arguments, **options)
        return {run_id: (server, changed and {**(run or {}), **changed}) for run_id, (server, run) in found.items()}

    monkeypatch.setattr(failed, "find_runs", change_runs)
    await command_line.api.store.ingest(run_event("run_1", [case("passes", "passed")]))
    printed = await command_line.invoke("failed", "--run-id", "run_1")
    assert (str(printed.exception), printed.stdout) == (message, "")


async def test_missing_tests_of_a_large_run_are_unknown(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_runs, "MAX_COMPARED_RESULTS", 1)
    results = [case("passes", "passed"), case("other", "passed")]
    await command_line.api.store.ingest(
        run_event("run_1", results, branch="main"),
        run_event("run_2", results[:1], base_branch="main", time="2026-05-21T12:00:00Z"),
    )
    printed = await command_line.invoke("failed", "--run-id", "run_2", "--missing")
    assert str(printed.exception) == (
        "the missing tests of run run_2 are unknown, because a run has more than 50,000 results"
    )


async def test_unknown_run_is_an_error(command_line: CommandLine) -> None:
    printed = await command_line.invoke("failed", "--run-id", "run_1")
    assert isinstance(printed.exception, ClientError)
    assert str(printed.exception) == "run run_1 doesn't exist"


async def test_tests_that_cannot_be_selected_exactly_are_named(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1", [case(f"test {number:02}") for number in range(22)]))
    printed = await command_line.invoke("failed", "--run-id", "run_1", "--format", "pytest")
    assert printed.stdout == "tests/test_cart.py\n"
    named = [f"  pytest > tests.test_cart > test {number:02}: tests/test_cart.py\n" for number in range(20)]
    assert printed.stderr == "".join([WAIT, *named, "  and 2 more\n"])


async def test_name_cannot_control_the_terminal_or_add_a_line(command_line: CommandLine) -> None:
    await command_line.api.store.ingest(run_event("run_1", [case("a\n::error::b\x1b[2J")]))
    assert await command_line.run("failed", "--run-id", "run_1") == (
        "pytest > tests.test_cart > a\\u000a::error::b\\u001b[2J\n"
    )
    printed = await command_line.invoke("failed", "--run-id", "run_1", "--format", "pytest")
    assert printed.stdout == "tests/test_cart.py\n"
    assert not {"\x1b"} & set(printed.stderr)
