"""Tests of the complete stack in its own process, started by `zof-results dev`."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.dev.accounts import erase
from service.dev.history import INCOMPLETE_RUN, MAIN_RUNS, NEW_FAILURE, PROJECT, PULL_REQUEST_RUN, run_id_of
from service.dev.ports import choose_port
from service.dev.processes import wait_until
from tests.dev.running_stack import RunningStack, have_exited

pytestmark = pytest.mark.slow

SAMPLE_RUNS = ["run_first_domain", "run_first_local_stack", "run_first_reports"]
DEMO_RUNS = [run_id_of(number) for number in range(INCOMPLETE_RUN, 0, -1)]


@pytest.fixture
def start(tmp_path: Path, database_url: str, amqp_url: str, queue_prefix: str) -> Iterator[Callable[..., RunningStack]]:
    """Return a function that starts a stack on the servers of the test session (takes about 1 s)."""
    started: list[RunningStack] = []
    servers = {
        "RESULTS_DATABASE_URL": database_url,
        "RESULTS_AMQP_URL": amqp_url,
        "RESULTS_QUEUE_PREFIX": queue_prefix,
        "RESULTS_HTTP_PORT": str(choose_port()),
    }

    def start_stack(*options: str, **settings: str) -> RunningStack:
        started.append(stack := RunningStack(tmp_path, *options, **{**servers, **settings}))
        return stack

    yield start_stack
    for stack in started:
        stack.stop()


def test_stack_stores_the_sample_runs_and_stops_all_its_processes(start: Callable[..., RunningStack]) -> None:
    stack = start().await_ready()
    pids = stack.pids()
    assert len(pids) == 2
    assert stack.ready["pid"] == stack.process.pid
    assert stack.ready["processes"]["postgres"] is None
    assert has_initial_runs(stack)
    assert stack.stop() == 0
    assert have_exited(pids)
    assert not stack.ready_file.exists()


def test_embedded_queue_delivers_the_sample_runs(start: Callable[..., RunningStack]) -> None:
    stack = start("--without-rabbitmq", RESULTS_AMQP_URL="").await_ready()
    assert stack.ready["amqp_url"] is None
    assert "embedded queue" in stack.output()
    stack.await_output(f"  zof-results gate --run-id {run_id_of(PULL_REQUEST_RUN)} --max-new-failures 0\n")
    assert has_initial_runs(stack)


def test_sample_runs_of_different_suites_are_not_compared(start: Callable[..., RunningStack]) -> None:
    stack = start().await_ready()
    for run_id in SAMPLE_RUNS:
        comparison = stack.get(f"/v1/runs/{run_id}/comparison")
        assert (comparison["baseline"], comparison["counts"]["removed"]) == (None, 0), run_id


def test_demo_history_has_every_kind_of_change_and_stored_decisions(start: Callable[..., RunningStack]) -> None:
    stack = start().await_ready()
    assert "incomplete" not in stack.output()
    for number, changes in (
        (MAIN_RUNS, {"new_failure", "flaky_failure", "known_failure", "quarantined", "fixed"}),
        (PULL_REQUEST_RUN, {"new_failure", "known_failure", "quarantined", "fixed", "added", "removed"}),
    ):
        comparison = stack.get(f"/v1/runs/{run_id_of(number)}/comparison")
        assert {name for name, count in comparison["counts"].items() if count and name != "unchanged"} >= changes
    decisions = stack.get("/v1/decisions")["data"]
    assert {(decision["gate"], decision["decision"]) for decision in decisions} == {
        ("release", "passed"), ("release", "blocked"), ("release", "waived"), ("main-health", "passed"),
        (None, "blocked"),
    }  # fmt: skip
    assert len(stack.get("/v1/quarantines")["data"]) == len(stack.get("/v1/results/export")["data"]) == 1
    groups = stack.get(f"/v1/failures?project_id={PROJECT}")["data"]
    assert len(groups) >= 8
    assert groups[0]["ticket_url"]
    failing = stack.get(f"/v1/results?run_id={run_id_of(MAIN_RUNS)}&status=failed&q={NEW_FAILURE}")["data"]
    artifacts = stack.get(f"/v1/results/{failing[0]['id']}/artifacts")["data"]
    files = {artifact["name"] for artifact in artifacts if artifact["kind"] != "export"}  # the demo export can be ready
    assert files == {"component.log", "durations.png"}
    stack.await_output(f"{stack.ready['api_url']}/console")


def test_second_start_reuses_address_and_key_and_sends_no_sample_runs(start: Callable[..., RunningStack]) -> None:
    first = start().await_ready()
    address, key = first.ready["api_url"], first.ready["api_key"]
    first.stop(signal.SIGINT)
    second = start().await_ready()
    assert (second.ready["api_url"], second.ready["api_key"]) == (address, key)
    assert "sent" not in second.output()
    assert has_initial_runs(second)


def test_second_stack_in_the_same_directory_fails(start: Callable[..., RunningStack]) -> None:
    first = start().await_ready()
    second = start()
    assert second.process.wait(20) == 1
    assert "already running in" in second.output()
    assert first.run_ids()


def test_folder_that_cannot_be_created_names_the_setting(start: Callable[..., RunningStack], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    stack = start(RESULTS_DEV_DIR=str(file / "dev"))
    assert stack.process.wait(60) == 1
    assert f"Error: {file / 'dev'}: Not a directory. Set RESULTS_DEV_DIR" in stack.output()


def test_requested_port_in_use_is_an_error(start: Callable[..., RunningStack]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        used = owner.getsockname()[1]
        stack = start(RESULTS_HTTP_PORT=str(used))
        assert stack.process.wait(60) == 1
    assert f"Error: RESULTS_HTTP_PORT: port {used} is in use. Set a free port, or 0" in stack.output()


def test_rate_limit_and_loopback_check_are_off_by_default(start: Callable[..., RunningStack]) -> None:
    explicit = {
        "RESULTS_RATE_LIMIT": "7/second", "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "false",
        "RESULTS_ISSUER_ALLOW_LOOPBACK": "false",
    }  # fmt: skip
    stack = start(**explicit).await_ready()
    settings = stack.settings_of("api")
    assert {name: settings[name] for name in explicit} == explicit
    assert settings["RESULTS_PUBLIC_URL"] == stack.ready["api_url"]
    stack.stop()
    settings = start().await_ready().settings_of("api")
    assert [settings[name] for name in explicit] == ["off", "true", "true"]


def test_only_the_owner_can_read_the_key(start: Callable[..., RunningStack], tmp_path: Path) -> None:
    stack = start().await_ready()
    for file in (stack.ready_file, tmp_path / "key"):
        assert file.stat().st_mode & 0o077 == 0


def test_stop_during_the_start_stops_all_processes(start: Callable[..., RunningStack], tmp_path: Path) -> None:
    stack = start()
    pid_file = tmp_path / "programs" / "api.pid"
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", 20)
    pid = int(pid_file.read_text().split()[0])
    assert stack.stop() == 0
    assert have_exited([pid])


def test_next_start_after_a_killed_supervisor_stops_its_processes(start: Callable[..., RunningStack]) -> None:
    first = start().await_ready()
    pids, address = first.pids(), first.ready["api_url"]
    first.stop(signal.SIGKILL)
    second = start().await_ready()
    assert have_exited(pids)
    assert second.ready["api_url"] == address
    assert second.ready["pid"] == second.process.pid


def test_killed_component_restarts_at_the_same_address_with_its_data(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path, RESULTS_HTTP_PORT=str(choose_port())).await_ready()
    try:
        before = stack.ready
        for component in before["processes"]:
            kill_and_await_restart(stack, component)
        assert {**stack.ready, "processes": {}} == {**before, "processes": {}}
        pids = stack.pids()
    finally:
        stack.stop()
        erase(tmp_path / "postgres")
    assert have_exited(pids)


def has_initial_runs(stack: RunningStack) -> bool:
    """Return whether the sample runs are the newest runs, followed by the demo history, newest first."""
    runs = stack.run_ids() or []
    return sorted(runs[:3]) == SAMPLE_RUNS and runs[3:] == DEMO_RUNS


def kill_and_await_restart(stack: RunningStack, component: str) -> None:
    before = stack.ready["processes"][component]
    os.kill(before[0] if isinstance(before, list) else before, signal.SIGKILL)
    assert wait_until(lambda: stack.ready["processes"][component] not in (before, [], None), 30), component
    assert wait_until(lambda: has_initial_runs(stack), 30), component
