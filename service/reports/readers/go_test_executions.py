"""Packages that a report of `go test -json` executes several times: `--rerun-fails` of gotestsum, or appended reports.

A test after the last event of its package is a further attempt of the case. A test that repeats before this event
(`-count=2`) is a further occurrence.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import BinaryIO, Final

from service.contracts.run_events import ResultIn
from service.reports.errors import malformed
from service.reports.json_lines import UnreadableLines, read_objects
from service.reports.retries import RepeatsInSuite

_MAX_PACKAGES: Final = 200_000
_MAX_PENDING: Final = 128 * 2**20  # characters, estimated
_OF_TEST: Final = '"Test":"'  # in most lines, which state nothing about packages
_ENDS: Final = frozenset({"pass", "fail", "skip"})


def repeated_packages(source: BinaryIO) -> frozenset[str]:
    """Return the packages that start or end several times. Leave the file at its start. Raises ReportError."""
    starts: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for event in read_objects(source, UnreadableLines(), without=_OF_TEST):
        action, package = event.get("Action"), event.get("Package")
        if isinstance(action, str) and isinstance(package, str) and not event.get("Test"):
            starts[package] += action == "start"
            ends[package] += action in _ENDS
            if len(ends) > _MAX_PACKAGES:
                raise malformed(f"the report contains more than {_MAX_PACKAGES} packages")
    source.seek(0)
    return frozenset(package for package in ends if max(starts[package], ends[package]) > 1)


class Executions:
    """Merges the results of repeated packages, which stay in memory until the end of the report."""

    def __init__(self, repeated: frozenset[str]) -> None:
        self._repeated = repeated
        self._merger = RepeatsInSuite(_MAX_PENDING)
        self._occurrences: defaultdict[str, Counter[str]] = defaultdict(Counter)  # of the current execution

    def add(self, results: Iterable[ResultIn]) -> list[ResultIn]:
        """Add the next results, and return those that can't get a further attempt."""
        returned: list[ResultIn] = []
        for result in results:
            package, name = result.get("suite") or "", result["name"]
            if package not in self._repeated:
                returned.append(result)
                continue
            occurrence = self._occurrences[package][name]
            self._occurrences[package][name] += 1
            returned += self._merger.add(result, occurrence)
        return returned

    def end(self, package: str) -> None:
        """End the execution of a package: the tests that follow are further attempts."""
        self._occurrences.pop(package, None)

    def flush(self) -> list[ResultIn]:
        """Return the results of repeated packages at the end of the report."""
        return self._merger.flush()
