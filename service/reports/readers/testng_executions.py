"""Names, times, groups, and retries of the executions of a TestNG report."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from service.contracts.run_events import ResultIn
from service.reports.attempts import add_attempt
from service.reports.readers.xml_cases import without_folder
from service.reports.times import timestamp

# The text of an object without a method `toString`: its class, and a hash that is different in each run.
_OBJECT: Final = re.compile(
    r"(?<![\w$.])"
    r"(\[+[BCDFIJSZ]|(?:\[+L)?(?:[A-Za-z_$][\w$]*\.)*[A-Z_$][\w$]*(?:/0x[0-9a-f]+|/\d+)?;?)@[0-9a-f]{1,8}(?![\w.@])"
)
_LAMBDA: Final = re.compile(r"\$\$Lambda[$\w]*/(?:0x)?[0-9a-f]+")  # is numbered in each run
_MAX_VALUE: Final = 2_000  # characters; exceeds the stored length, so that ingest notes the truncation
_MOCK: Final = re.compile(r", hashCode: \d+")
_ZONE: Final = re.compile(r"(?:UTC|GMT)([+-]\d\d:?\d\d)?")  # other names, such as IST, are ambiguous
_MAX_GROUPS: Final = 16 * 2**20  # characters of all groups of a report
_MAX_HELD: Final = 2 * 2**20  # characters of the held results of a class, and of the retried ones, estimated


def name_of(name: str, signature: str, instance: str | None, values: Sequence[str]) -> str:
    """Return the method with its stated instance and its parameters: `adds[1, apple]`.

    An instance with a name replaces the name of each of its methods, which the signature still states.
    """
    method = signature.partition("(")[0].strip() if instance else name
    texts = [instance, *values] if instance else values
    return f"{method or name}[{', '.join(map(portable_value, texts))}]" if texts else name


def portable_value(value: str) -> str:
    """Return the text of a parameter without the hash of an object and without an absolute path."""
    value = value[:_MAX_VALUE]
    if "@" in value:
        value = _OBJECT.sub(r"\1", _LAMBDA.sub("$$Lambda", value))
    return without_folder(_MOCK.sub("", " ".join(value.split())))


def zoned_time(text: str | None) -> datetime | None:
    """Parse a time such as `2026-05-20T12:00:00 UTC`. A time in a zone with an ambiguous name has no zone."""
    time, _, zone = (text or "").partition(" ")
    match = _ZONE.fullmatch(zone)
    return timestamp(f"{time}{match[1] or 'Z'}" if match else time)


class MethodGroups:
    """The groups of each method, which the report lists before the tests."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], tuple[str, ...]] = {}
        self._size = 0

    def add(self, method: tuple[str, str], group: str) -> bool:
        """Add a group of a method of a class, and return False if all groups together are too large."""
        self._size += sum(map(len, method)) + len(group)
        if self._size > _MAX_GROUPS:
            return False
        self._groups[method] = (*self._groups.get(method, ()), group)
        return True

    def of(self, method: tuple[str, str]) -> tuple[str, ...]:
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
        size = 500 + len((result.get("failure") or {}).get("details") or "")
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
