"""The supervisor of the stack: starts components together, restarts those that exit, stops all in reverse order."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NoReturn

from service.dev.programs import StackComponent

_POLL_S: Final = 0.1
_FIRST_PAUSE_S: Final = 0.1
_MAX_PAUSE_S: Final = 10.0
_STABLE_AFTER_S: Final = 30.0
_HEALTH_CHECK_S: Final = 10.0
_MAX_UNHEALTHY_CHECKS: Final = 3


@dataclass
class SupervisedComponent:
    """A component and the number of consecutive times that it exited soon after a launch."""

    component: StackComponent
    launched_at: float = 0.0
    relaunch_at: float | None = None
    early_exits: int = 0
    next_health_check_at: float = 0.0
    unhealthy_checks: int = 0

    def launch(self) -> None:
        self.launched_at = time.monotonic()
        self.relaunch_at = None
        self.next_health_check_at = self.launched_at + _STABLE_AFTER_S
        self.unhealthy_checks = 0
        self.component.launch()

    def schedule_relaunch(self) -> float:
        """Schedule the next launch with exponential backoff for early exits; return the pause in seconds."""
        now = time.monotonic()
        self.early_exits = 0 if now - self.launched_at > _STABLE_AFTER_S else self.early_exits + 1
        pause_s = min(_FIRST_PAUSE_S * 2.0**self.early_exits, _MAX_PAUSE_S)
        self.relaunch_at = now + pause_s
        return pause_s

    def has_failed_health_checks(self) -> bool:
        """Check the health if a check is due; return whether several consecutive checks have failed."""
        now = time.monotonic()
        if now < self.next_health_check_at:
            return False
        self.unhealthy_checks = 0 if self.component.is_healthy() else self.unhealthy_checks + 1
        self.next_health_check_at = time.monotonic() + _HEALTH_CHECK_S
        return self.unhealthy_checks >= _MAX_UNHEALTHY_CHECKS


class Supervisor:
    """Owner of the running components. It calls `pids_changed` after each change of a process ID.

    If `pids_changed` fails, for example because the disk is full, it's called again until it succeeds.
    """

    def __init__(self, log: Callable[[str], None], pids_changed: Callable[[], None] = lambda: None) -> None:
        self._log = log
        self._pids_changed = pids_changed
        self._supervised: list[SupervisedComponent] = []
        self._is_report_pending = False

    def start(self, *components: StackComponent) -> None:
        """Launch prepared components together and wait until all are ready."""
        for component in components:
            self._supervised.append(supervised := SupervisedComponent(component))
            supervised.launch()
        for component in components:
            component.await_ready()

    def watch(self) -> NoReturn:
        """Check all components periodically until an exception, such as one that a signal raises, is raised."""
        while True:
            self.check()
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Check each component once; launch those that exited and whose pause is over."""
        for supervised in self._supervised:
            self._check(supervised)
        if self._is_report_pending:
            self._report_pids()

    def stop(self) -> None:
        """Stop all components, the last started first, even if one of them can't be stopped."""
        with ExitStack() as stops:
            for supervised in self._supervised:
                stops.callback(supervised.component.stop)
        self._supervised.clear()

    def _check(self, supervised: SupervisedComponent) -> None:
        if supervised.component.is_running():
            if supervised.has_failed_health_checks():
                self._log(f"{supervised.component.name} runs but doesn't work; stopping it")
                supervised.component.process.stop()
            return
        if supervised.relaunch_at is None:
            self._record_exit(supervised)
        elif time.monotonic() >= supervised.relaunch_at:
            self._relaunch(supervised)

    def _record_exit(self, supervised: SupervisedComponent) -> None:
        component, pause_s = supervised.component, supervised.schedule_relaunch()
        code = component.process.exit_code
        self._log(f"{component.name} exited with {code}, see {component.process.log}; restarting in {pause_s:g} s")
        self._report_pids()

    def _relaunch(self, supervised: SupervisedComponent) -> None:
        try:
            supervised.launch()
        except Exception as error:  # the other components must keep running
            pause_s = supervised.schedule_relaunch()
            self._log(f"{supervised.component.name} can't be launched ({error}); retrying in {pause_s:g} s")
        self._report_pids()

    def _report_pids(self) -> None:
        was_pending, self._is_report_pending = self._is_report_pending, False
        try:
            self._pids_changed()
        except OSError as error:  # the components must keep running
            self._is_report_pending = True
            if not was_pending:
                self._log(f"the process IDs can't be stored ({error}); retrying")


def prepare(components: Sequence[StackComponent]) -> None:
    """Prepare components in the order in which they stop, so that orphans exit before the servers that they use."""
    for component in reversed(components):
        component.prepare()
