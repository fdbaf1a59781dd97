"""Tests of the supervisor: restarts, backoff, and the order of stops."""

import errno
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.dev.processes import wait_until
from service.dev.programs import ComponentError, Program
from service.dev.supervisor import Supervisor


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def supervisor(messages: list[str], changes: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(messages.append, lambda: changes.append("changed"))
    yield supervisor
    supervisor.stop()


def checked_until(supervisor: Supervisor, condition: Callable[[], bool]) -> bool:
    def check() -> bool:
        supervisor.check()
        return condition()

    return wait_until(check, 10)


def test_killed_component_is_restarted_and_reported(
    supervisor: Supervisor, start_sleeper: Callable[[str], Program], messages: list[str], changes: list[str]
) -> None:
    component = start_sleeper("api")
    supervisor.start(component)
    first = component.pid
    component.process.send(signal.SIGKILL)
    assert checked_until(supervisor, lambda: component.pid not in (None, first))
    assert "api exited with -9" in messages[0]
    assert changes == ["changed", "changed"]


def test_repeated_exits_are_restarted_with_backoff(supervisor: Supervisor, tmp_path: Path, messages: list[str]) -> None:
    component = Program("broken", ["sleep", "0.05"], tmp_path)
    component.prepare()
    supervisor.start(component)
    assert checked_until(supervisor, lambda: len(messages) == 3)
    assert [line.rpartition("in ")[2] for line in messages] == ["0.2 s", "0.4 s", "0.8 s"]


def test_component_that_cannot_be_launched_does_not_affect_others(
    supervisor: Supervisor, start_sleeper: Callable[[str], Program], tmp_path: Path, messages: list[str]
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o700)
    removed, other = Program("removed", [str(program)], tmp_path), start_sleeper("other")
    removed.prepare()
    supervisor.start(removed, other)
    program.unlink()
    removed.process.send(signal.SIGKILL)
    assert checked_until(supervisor, lambda: any("removed can't be launched" in line for line in messages))
    assert other.is_running()


def test_full_disk_does_not_end_the_supervisor(
    start_sleeper: Callable[[str], Program], messages: list[str], changes: list[str]
) -> None:
    def fail_three_times() -> None:
        changes.append("changed")
        if len(changes) <= 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    supervisor = Supervisor(messages.append, fail_three_times)
    component = start_sleeper("api")
    supervisor.start(component)
    try:
        first = component.pid
        component.process.send(signal.SIGKILL)
        assert checked_until(supervisor, lambda: component.pid not in (None, first) and len(changes) >= 4)
    finally:
        supervisor.stop()
    assert sum("No space left on device" in line for line in messages) == 1


def test_unhealthy_component_is_restarted_after_several_checks(
    supervisor: Supervisor,
    start_sleeper: Callable[[str], Program],
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.dev.supervisor._STABLE_AFTER_S", 0.0)
    monkeypatch.setattr("service.dev.supervisor._HEALTH_CHECK_S", 0.05)
    component, healthy = start_sleeper("rabbitmq"), [True, False, False, True, False, False, False]
    monkeypatch.setattr(component, "is_healthy", lambda: not healthy or healthy.pop(0))
    supervisor.start(component, start_sleeper("other"))
    first = component.pid
    assert checked_until(supervisor, lambda: component.pid not in (None, first) and component.is_running())
    assert healthy == []
    assert messages[0] == "rabbitmq runs but doesn't work; stopping it"


def test_components_stop_in_the_reverse_order_of_their_start(
    supervisor: Supervisor, start_sleeper: Callable[[str], Program], stopped: Path
) -> None:
    supervisor.start(start_sleeper("postgres"), start_sleeper("rabbitmq"))
    supervisor.start(start_sleeper("api"))
    supervisor.stop()
    assert stopped.read_text().split() == ["api", "rabbitmq", "postgres"]


def test_failed_start_reports_the_last_log_lines(supervisor: Supervisor, tmp_path: Path) -> None:
    component = Program("failing", ["sh", "-c", "echo no license; exit 3"], tmp_path, is_ready=lambda: False)
    component.prepare()
    with pytest.raises(ComponentError, match="no license"):
        supervisor.start(component)
