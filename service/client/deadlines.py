"""A time limit for work that can't be stopped, such as name resolution."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Final, TypeVar

from service.client.http import ClientError

SILENCE_S: Final = 10.0  # without any response
_POLL_S: Final = 0.05

T = TypeVar("T")


class Heartbeat:
    """The time of the last sign of the server."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def renew(self, *_: Any) -> None:
        """Note a sign of the server."""
        self._last_s = time.monotonic()

    @property
    def silence_s(self) -> float:
        """The time since the last sign."""
        return time.monotonic() - self._last_s


def finish_in_time(work: Callable[[Heartbeat], T], timeout_s: float = SILENCE_S, silence_s: float = SILENCE_S) -> T:
    """Return the result of the work, which a thread executes, because name resolution, for example, can't be stopped.

    Raises ClientError if the server gives no sign for `silence_s`, or if the work takes too long.
    """
    heartbeat = Heartbeat()
    future: Future[T] = Future()

    def execute() -> None:
        try:
            future.set_result(work(heartbeat))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=execute, daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while not wait([future], _POLL_S).done:
        if heartbeat.silence_s > silence_s:
            raise ClientError(f"the server gave no response for {silence_s:g} s")
        if time.monotonic() > deadline:
            raise ClientError(f"the delivery took longer than {timeout_s:g} s")
    return future.result()
