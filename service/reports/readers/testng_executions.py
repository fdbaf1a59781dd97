"""Names, times, groups, and retries of the executions of a TestNG report."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from service.contracts.run_events import ResultIn
from service.reports.attempts import add_attempt
from service.reports.parameters import portable_value
from service.reports.suites import MAX_LABEL
from service.reports.times import timestamp

_ZONE: Final = re.compile(r"(?:UTC|GMT)([+-]\d\d:?\d\d)?")  # other names, such as IST, are ambiguous
_MAX_GROUPS: Final = 64 * 2**20  # bytes of all groups of a suite, estimated
_MAX_GROUPS_OF_METHOD: Final = 100
_GROUP_BYTES: Final = 300  # of a group of a method, without the texts
_MAX_HELD: Final = 2 * 2**20  # characters of the held results of a class, and of the retried ones, estimated


def name_of(name: str, signature: str, instance: str | None, values: Sequence[str]) -> str:
    """Return the method with its stated instance and its parameters: `adds[1, apple]`.

    An instance with a name replaces the name of each of its methods, which the signature still states.
    """
    method = signature.partition("(")[0].strip() if instance else name
    texts = [instance, *values] if instance else values
    return f"{method or name}[{', '.join(map(portable_value, texts))}]"[:MAX_LABEL] if texts else name


def zoned_time(text: str | None) -> datetime | None:
    """Parse a time such as `2026-05-20T12:00:00 UTC`. A time in a zone with an ambiguous name has no zone."""
    time, _, zone = (text or "").partition(" ")
    match = _ZONE.fullmatch(zone)
    return timestamp(f"{time}{match[1] or 'Z'}" if match else time)


class MethodGroups:
    """The groups of each method, which the report lists before the tests."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], list[str]] = {}
        self._size = 0

    def add(self, method: tuple[str, str], group: str) -> bool:
        """Add a group of a method of a class, and return False if it exceeds the limits."""
        self._size += _GROUP_BYTES + sum(map(len, method)) + len(group)
        groups = self._groups.get(method, [])
        if self._size > _MAX_GROUPS or len(groups) >= _MAX_GROUPS_OF_METHOD:
            return False
        groups.append(group)
        self._groups[method] = groups
        return True

    def of(self, method: tuple[str, str]) -> Sequence[str]:
        """Return the groups of a method of a class."""
        return self._groups.get(method, ())


class RetriedExecutions:
    """Adds the retried executions of one class to the execution that decides, as its earlier attempts.

    TestNG sorts executions by their start, so that a fast execution can be listed before the one that it repeats.
    Therefore, the results of a class are held if the report states retries.
    """

    def __init__(self, holds: bool) -> None:
        self._holds = holds
        self._held: list[ResultIn] = []
        self._retried: dict[str, list[ResultIn]] = {}
        self._held_size = self._retried_size = 0

    def add(self, result: ResultIn, is_retried: bool) -> Iterable[ResultIn]:
        """Add the next execution, and return the results that can't get a further attempt."""
        failure = result.get("failure") or {}
        size = 500 + sum(len(text or "") for text in (result["name"], failure.get("message"), failure.get("details")))
        if is_retried:
            self._retried.setdefault(result["name"], []).append(result)
            self._retried_size += size
            return self.flush() if self._retried_size > _MAX_HELD else ()
        self._held.append(_with_attempts(self._retried.pop(result["name"], ()), result))
        self._held_size += size
        if not self._retried:
            self._retried_size = 0
        return () if self._holds and self._held_size <= _MAX_HELD else self._take_held()

    def flush(self) -> list[ResultIn]:
        """Return the results at the end of the class. A retried execution without a further one is a result."""
        last = {result["name"]: position for position, result in enumerate(self._held)}
        for name, retried in self._retried.items():
            if name in last:
                position = last[name]
                self._held[position] = _with_attempts(retried, self._held[position])
            else:
                self._held.append(_with_attempts(retried[:-1], retried[-1]))
        self._retried.clear()
        self._retried_size = 0
        return self._take_held()

    def _take_held(self) -> list[ResultIn]:
        held, self._held, self._held_size = self._held, [], 0
        return held


def _with_attempts(earlier: Sequence[ResultIn], last: ResultIn) -> ResultIn:
    """Return one result with all executions as attempts, in this order."""
    if not earlier:
        return last
    first, *others = earlier
    for result in (*others, last):
        first = add_attempt(first, result)
    return first
