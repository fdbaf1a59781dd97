"""The whole stack as `zof-results dev` runs it, in a process of its own."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.dev.accounts import erase
from service.dev.ports import choose_port
from service.dev.processes import wait_until
from tests.dev.running_stack import RunningStack, all_gone

FIRST_RUNS = {"run_first_domain", "run_first_local_stack", "run_first_reports"}


@pytest.fixture
def start(tmp_path: Path, database_url: str, amqp_url: str, queue_prefix: str) -> Iterator[Callable[..., RunningStack]]:
    """Starts a stack on the servers of the test session, which takes a second."""
    started: list[RunningStack] = []
    servers = {
        "RESULTS_DATABASE_URL": database_url,
        "RESULTS_AMQP_URL": amqp_url,
        "RESULTS_QUEUE_PREFIX": queue_prefix,
        "RESULTS_HTTP_PORT": str(choose_port()),
    }

    def make(*options: str, **settings: str) -> RunningStack:
        started.append(stack := RunningStack(tmp_path, *options, **{**servers, **settings}))
        return stack

    yield make
    for stack in started:
        stack.end()


def test_stack_shows_what_it_was_sent_and_stops_without_a_trace(start: Callable[..., RunningStack]) -> None:
    stack = start().await_ready()
    pids = stack.pids()
    assert len(pids) == 2
    assert stack.ready["pid"] == stack.process.pid
    assert stack.ready["processes"]["postgres"] is None
    assert set(stack.run_ids() or []) == FIRST_RUNS
    assert stack.end() == 0
    assert all_gone(pids)
    assert not stack.ready_file.exists()


def test_without_a_broker_the_embedded_queue_brings_the_first_data(start: Callable[..., RunningStack]) -> None:
    stack = start("--without-rabbitmq", RESULTS_AMQP_URL="").await_ready()
    assert stack.ready["amqp_url"] is None
    assert "embedded queue" in stack.said()
    assert set(stack.run_ids() or []) == FIRST_RUNS


def test_second_start_keeps_address_and_key_and_sends_nothing_again(start: Callable[..., RunningStack]) -> None:
    first = start().await_ready()
    address, key = first.ready["api_url"], first.ready["api_key"]
    first.end(signal.SIGINT)
    second = start().await_ready()
    assert (second.ready["api_url"], second.ready["api_key"]) == (address, key)
    assert "sent" not in second.said()
    assert set(second.run_ids() or []) == FIRST_RUNS


def test_second_stack_in_the_same_place_is_refused(start: Callable[..., RunningStack]) -> None:
    first = start().await_ready()
    second = start()
    assert second.process.wait(20) == 1
    assert "running in" in second.said()
    assert first.run_ids()


def test_taken_port_is_left_to_its_owner(start: Callable[..., RunningStack]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        taken = owner.getsockname()[1]
        stack = start(RESULTS_HTTP_PORT=str(taken)).await_ready()
        assert not stack.ready["api_url"].endswith(f":{taken}")
        assert f"port {taken} is taken" in stack.said()


@pytest.mark.slow
def test_limits_that_hinder_development_are_off_unless_set(start: Callable[..., RunningStack]) -> None:
    stack = start(RESULTS_RATE_LIMIT="7/second").await_ready()
    settings = stack.settings_of("api")
    assert settings["RESULTS_RATE_LIMIT"] == "7/second"
    assert settings["RESULTS_WEBHOOK_ALLOW_LOOPBACK"] == "true"
    stack.end()
    assert start().await_ready().settings_of("api")["RESULTS_RATE_LIMIT"] == "off"


def test_only_the_owner_may_read_the_key(start: Callable[..., RunningStack], tmp_path: Path) -> None:
    stack = start().await_ready()
    for file in (stack.ready_file, tmp_path / "key"):
        assert file.stat().st_mode & 0o077 == 0


def test_stop_while_it_starts_leaves_nothing(start: Callable[..., RunningStack], tmp_path: Path) -> None:
    stack = start()
    pid_file = tmp_path / "programs" / "api.pid"
    assert wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", 20)
    pid = int(pid_file.read_text().split()[0])
    assert stack.end() == 0
    assert all_gone([pid])


def test_killed_supervisor_leaves_nothing_that_hinders_the_next_start(start: Callable[..., RunningStack]) -> None:
    first = start().await_ready()
    pids, address = first.pids(), first.ready["api_url"]
    first.end(signal.SIGKILL)
    second = start().await_ready()
    assert all_gone(pids)
    assert second.ready["api_url"] == address
    assert second.ready["pid"] == second.process.pid


@pytest.mark.slow
def test_each_killed_part_comes_back_at_the_same_address_with_its_data(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path, RESULTS_HTTP_PORT=str(choose_port())).await_ready()
    try:
        before = stack.ready
        for part in before["processes"]:
            kill_and_await(stack, part)
        assert {**stack.ready, "processes": {}} == {**before, "processes": {}}
        pids = stack.pids()
    finally:
        stack.end()
        erase(tmp_path / "postgres")
    assert all_gone(pids)


def kill_and_await(stack: RunningStack, part: str) -> None:
    before = stack.ready["processes"][part]
    os.kill(before[0] if isinstance(before, list) else before, signal.SIGKILL)
    assert wait_until(lambda: stack.ready["processes"][part] not in (before, [], None), 30), part
    assert wait_until(lambda: set(stack.run_ids() or []) == FIRST_RUNS, 30), part
