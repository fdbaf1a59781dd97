"""The supervisor: whatever ends is launched again, and all stops in reverse order."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.dev.parts import PartError
from service.dev.processes import wait_until
from service.dev.programs import Program
from service.dev.supervisor import Supervisor


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str], changes: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(said.append, lambda: changes.append("changed"))
    yield supervisor
    supervisor.stop()


def tended_until(supervisor: Supervisor, condition: Callable[[], bool]) -> bool:
    def tended() -> bool:
        supervisor.tend()
        return condition()

    return wait_until(tended, 10)


def test_killed_part_is_launched_again_and_told_of(
    supervisor: Supervisor, sleeper: Callable[[str], Program], said: list[str], changes: list[str]
) -> None:
    part = sleeper("api")
    supervisor.start(part)
    first = part.pid
    part.process.send(signal.SIGKILL)
    assert tended_until(supervisor, lambda: part.pid not in (None, first))
    assert "api ended with -9" in said[0]
    assert changes == ["changed", "changed"]


def test_part_that_keeps_ending_is_launched_ever_later(supervisor: Supervisor, tmp_path: Path, said: list[str]) -> None:
    part = Program("broken", ["sleep", "0.05"], tmp_path)
    part.prepare()
    supervisor.start(part)
    assert tended_until(supervisor, lambda: len(said) == 3)
    assert [line.rpartition("in ")[2] for line in said] == ["0.2 s", "0.4 s", "0.8 s"]


def test_part_that_cannot_be_launched_takes_no_other_down(
    supervisor: Supervisor, sleeper: Callable[[str], Program], tmp_path: Path, said: list[str]
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o700)
    removed, other = Program("removed", [str(program)], tmp_path), sleeper("other")
    removed.prepare()
    supervisor.start(removed, other)
    program.unlink()
    removed.process.send(signal.SIGKILL)
    assert tended_until(supervisor, lambda: any("removed can't be launched" in line for line in said))
    assert other.is_running()


def test_parts_stop_in_the_reverse_order_of_their_start(
    supervisor: Supervisor, sleeper: Callable[[str], Program], stopped: Path
) -> None:
    supervisor.start(sleeper("postgres"), sleeper("rabbitmq"))
    supervisor.start(sleeper("api"))
    supervisor.stop()
    assert stopped.read_text().split() == ["api", "rabbitmq", "postgres"]


def test_part_that_never_gets_ready_fails_the_start_with_its_last_words(supervisor: Supervisor, tmp_path: Path) -> None:
    part = Program("mute", ["sh", "-c", "echo out of luck; exit 3"], tmp_path, is_ready=lambda: False)
    part.prepare()
    with pytest.raises(PartError, match="out of luck"):
        supervisor.start(part)
