"""Streaming reader of `go test -json`: one event per line, of packages and tests that run at the same time."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

from service.domain.statuses import ResultStatus
from service.ingest.contract import ResultIn
from service.reports.conversion.attempts import RepeatsInSuite
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import SUITE_LEVEL_NAME
from service.reports.conversion.output import BoundedText, set_output
from service.reports.conversion.times import utc_timestamp, valid_milliseconds
from service.reports.streams.chunks import in_lists
from service.reports.streams.json import read_lines
from service.results.model import PropertyCollector

_FAILED_PACKAGE: Final = "FAIL\t"
_MAX_SHOWN: Final = 200  # characters of a line
_MAX_PACKAGES: Final = 200_000
_MAX_PENDING: Final = 128 * 2**20  # characters, estimated
_OF_TEST: Final = '"Test":"'  # in most lines, which state nothing about packages
_ENDS: Final = frozenset({"pass", "fail", "skip"})
_MAX_STARTED: Final = 100_000  # tests, packages, and builds without an end
_MAX_OUTPUT: Final = 64 * 2**20  # bytes in memory of all tests, packages, and builds without an end
# `bench` is the end of a benchmark that wrote a log.
_STATUS_OF: Final[dict[str, ResultStatus]] = {"pass": "passed", "bench": "passed", "fail": "failed", "skip": "skipped"}
# Output that doesn't explain a failure: the progress of a test, and the outcome of a package.
_PROGRESS: Final = ("=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME ", "PASS\n", "FAIL\n")
_BUILD_TITLE: Final = "# "
_MEASUREMENT: Final = " ns/op"
_NO_END: Final = "The test has no end: its package stopped, for example after a panic, an exit, or a timeout."
_TRUNCATED: Final = "[The rest of the output was removed, because too many tests had no end at the same time.]\n"
_NO_PACKAGE_END: Final = "The report ends before the package."
_NEXT_EXECUTION: Final = "The package was executed again before it had ended."
_UNREADABLE: Final = (
    "must be a JSON object. Lines that can't be read: {count}. Results can be missing, so the run is an error"
)


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size, in the order in which the tests end.

    The results of packages that are executed several times follow at the end. Lines that aren't valid JSON, such as the
    last one of a truncated file, don't discard the others, but make the run an error. Raises ReportError if a line is
    too long or too many tests have no end.
    """
    return in_lists(_results(source, metadata))


def _results(source: BinaryIO, metadata: ReportMetadata) -> Iterator[ResultIn]:
    reader = _GoTestReader(metadata, _repeated_packages(source))
    unreadable = _UnreadableLines()
    for event in _read_objects(source, unreadable):
        yield from reader.process(event)
    yield from reader.finish()
    if unreadable.count:
        metadata.is_damaged = True
        metadata.notes.append(f"line {unreadable.first}: {_UNREADABLE.format(count=unreadable.count)}")
    if unreadable.failed_package and not metadata.contains_failures:
        metadata.declares_failures = True
        metadata.notes.append(f"failures: none is an event, but a text states one: {unreadable.failed_package}")


class _Started:
    """A test, package, or build that has started and not ended."""

    __slots__ = (
        "has_failures", "has_start", "is_measured", "is_truncated", "memory", "output", "properties", "started_at",
        "tests",
    )  # fmt: skip

    def __init__(self) -> None:
        self.started_at: datetime | None = None
        self.output: BoundedText | None = None
        self.memory = 0  # bytes of the output
        self.is_truncated = False  # the rest of the output is ignored
        self.properties: PropertyCollector | None = None
        self.is_measured = False  # of a benchmark: it has a measurement, but no end unless it fails or writes a log
        self.has_start = False  # of a package: the report states that it has started, also without a time
        self.tests: dict[str, _Started] = {}  # of a package
        self.has_failures = False  # of a package or build

    @property
    def details(self) -> str:
        """The output as the details of a failure."""
        return self.output.details().strip("\n") if self.output else ""

    def add_output(self, output: str) -> int:
        """Add a line of output, and return the change of the memory in bytes."""
        self.output = self.output or BoundedText()
        added = self.output.add(output)
        self.memory += added
        return added

    def add_property(self, name: str, value: str) -> bool:
        """Add a named value, and return False if it exceeds the limits."""
        self.properties = self.properties or PropertyCollector()
        return self.properties.add(name, value)


class _GoTestReader:
    """Collects the output of tests, packages, and builds until they end."""

    def __init__(self, metadata: ReportMetadata, repeated: frozenset[str]) -> None:
        self._metadata = metadata
        self._executions = _Executions(repeated)
        self._packages: dict[str, _Started] = {}
        self._builds: dict[str, _Started] = {}
        self._failed_builds: dict[str, None] = {}  # that no failed package names
        self._started = self._output_memory = 0
        self._last_time = ""

    def process(self, event: Mapping[str, Any]) -> list[ResultIn]:
        """Process an event, and return the results of the tests that end with it."""
        action, test, time = _text(event, "Action"), _text(event, "Test"), _text(event, "Time")
        if build := _text(event, "ImportPath"):
            self._process_build(build, event)
            return []
        if time and not self._last_time:
            self._metadata.times.add(utc_timestamp(time))
        self._last_time = time or self._last_time
        name = _text(event, "Package")
        package = self._packages.get(name) or self._start(self._packages, name)
        if action in _STATUS_OF:
            if test:
                return self._executions.add([self._end_test(package, name, event)])
            return self._end_package(package, name, event)
        if action == "start":
            return self._start_package(package, name)
        if action == "run" and test and test not in package.tests:
            self._start(package.tests, test).started_at = utc_timestamp(time)
        elif action == "output":
            self._add_test_output(package, test, _text(event, "Output"))
        elif action == "attr" and test in package.tests:
            is_added = package.tests[test].add_property(_text(event, "Key"), _text(event, "Value"))
            self._metadata.dropped_properties += not is_added
        return []

    def finish(self) -> list[ResultIn]:
        """Return the results of tests and packages without an end, and of failed builds that no package names."""
        self._metadata.times.set_end(utc_timestamp(self._last_time))
        results: list[ResultIn] = []
        for name, package in list(self._packages.items()):
            if package.has_start or package.tests:
                self._add_output(package, _NO_PACKAGE_END)
                results += self._end_package(package, name, {"Action": "fail"})
        failed_builds = [self._suite_level(path.partition(" ")[0], path) for path in self._failed_builds]
        return [*results, *self._executions.add(failed_builds), *self._executions.flush()]

    def _start_package(self, package: _Started, name: str) -> list[ResultIn]:
        """Start a package, and return the results of its previous execution if that one has no end."""
        results: list[ResultIn] = []
        if package.has_start or package.tests:
            self._add_output(package, _NEXT_EXECUTION)
            results = self._end_package(package, name, {"Action": "fail"})
            package = self._start(self._packages, name)
        package.has_start = True
        return results

    def _start(self, siblings: dict[str, _Started], name: str) -> _Started:
        self._started += 1
        if self._started > _MAX_STARTED:
            raise malformed(f"more than {_MAX_STARTED} tests, packages, and builds have no end")
        siblings[name] = started = _Started()
        return started

    def _end_test(self, package: _Started, suite: str, event: Mapping[str, Any]) -> ResultIn:
        name, status = _text(event, "Test"), _STATUS_OF[event["Action"]]
        test = package.tests.pop(name, None) or self._start({}, name)
        result: ResultIn = {"suite": suite, "name": name, "status": status}
        if (elapsed := event.get("Elapsed")) is not None:
            duration_ms = valid_milliseconds(elapsed * 1000) if isinstance(elapsed, int | float) else None
            self._metadata.unreadable.set_duration(result, elapsed, duration_ms)
        if test.started_at:
            result["started_at"] = test.started_at
        if test.properties:
            result["properties"] = test.properties.pairs
        self._release(test)
        if status != "passed" and (details := test.details):
            result["failure"] = {"details": details}
            self._write_output(result, {"output.txt": test})
        package.has_failures |= status == "failed"
        self._metadata.contains_failures |= status == "failed"
        return result

    def _end_package(self, package: _Started, name: str, event: Mapping[str, Any]) -> list[ResultIn]:
        """Return the results of tests without an end, and of the package if it failed and no result states why."""
        has_failed = event["Action"] == "fail"
        results: list[ResultIn] = []
        for test_name, test in list(package.tests.items()):
            has_ended = test.is_measured or not has_failed
            result = self._end_test(package, name, {"Action": "pass" if has_ended else "fail", "Test": test_name})
            if not has_ended:
                result["status"] = "error"
                result.setdefault("failure", {"message": _NO_END})
            results.append(result)
        del self._packages[name]
        self._release(package)
        build = _text(event, "FailedBuild")
        if has_failed and not package.has_failures:
            results.append(self._suite_level(name, build, package))
        self._failed_builds.pop(build, None)
        results = self._executions.add(results)
        self._executions.end(name)
        return results

    def _suite_level(self, name: str, build: str, package: _Started | None = None) -> ResultIn:
        """Return a failure that belongs to no test as a separate result, so that it isn't lost."""
        self._metadata.contains_failures = True
        outputs = {"build-output.txt": self._builds.get(build), "output.txt": package}
        details = "\n".join(started.details for started in outputs.values() if started and started.details).rstrip()
        result: ResultIn = {"suite": name, "name": SUITE_LEVEL_NAME, "status": "error"}
        result["failure"] = {"details": details}
        self._write_output(result, outputs)
        return result

    def _write_output(self, result: ResultIn, outputs: Mapping[str, _Started | None]) -> None:
        texts = [(name, started.output) for name, started in outputs.items() if started and started.output]
        set_output(result, self._metadata.output.add(f"{result['suite']} {result['name']}", texts))

    def _process_build(self, path: str, event: Mapping[str, Any]) -> None:
        output = _text(event, "Output")
        build = self._builds.get(path) or self._start(self._builds, path)
        if build.has_failures:  # of an earlier execution
            self._release(build)
            build = self._start(self._builds, path)
        if event.get("Action") == "build-fail":
            build.has_failures = True
            self._failed_builds[path] = None
        elif not output.startswith(_BUILD_TITLE):
            self._add_output(build, output)

    def _add_test_output(self, package: _Started, name: str, output: str) -> None:
        self._add_output(package.tests.get(name, package), output)
        while name in package.tests and _MEASUREMENT in output:  # the benchmark and those that contain it
            package.tests[name].is_measured = name.startswith("Benchmark")
            name = name.rpartition("/")[0]

    def _add_output(self, started: _Started, output: str) -> None:
        if started.is_truncated or output.startswith(_PROGRESS):
            return
        started.is_truncated = self._output_memory > _MAX_OUTPUT
        self._output_memory += started.add_output(_TRUNCATED if started.is_truncated else output)

    def _release(self, started: _Started) -> None:
        """Stop counting what has ended."""
        self._started -= 1
        self._output_memory -= started.memory


class _Executions:
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


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _repeated_packages(source: BinaryIO) -> frozenset[str]:
    """Return the packages that start or end several times. Leave the file at its start. Raises ReportError."""
    starts: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for event in _read_objects(source, _UnreadableLines(), without=_OF_TEST):
        action, package = event.get("Action"), event.get("Package")
        if isinstance(action, str) and isinstance(package, str) and not event.get("Test"):
            starts[package] += action == "start"
            ends[package] += action in _ENDS
            if len(ends) > _MAX_PACKAGES:
                raise malformed(f"the report contains more than {_MAX_PACKAGES} packages")
    source.seek(0)
    return frozenset(package for package in ends if max(starts[package], ends[package]) > 1)


@dataclass(slots=True)
class _UnreadableLines:
    """Counts lines that start with a brace but contain no valid object, such as the last one of a truncated file.

    `failed_package` is the first line that states the failure of a package as text, such as `FAIL shop [build failed]`.
    """

    count: int = 0
    first: int = 0
    failed_package: str = ""

    def add(self, number: int) -> None:
        """Count the line with this number."""
        self.count += 1
        self.first = self.first or number


def _read_objects(
    source: BinaryIO, unreadable: _UnreadableLines, without: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the objects of the lines, except for lines that contain the text `without`.

    Lines that don't start with a brace, such as messages on standard error, are ignored. Raises ReportError if a line
    is too long.
    """
    for number, line in enumerate(read_lines(source), 1):
        if not line.startswith("{"):
            if line.startswith(_FAILED_PACKAGE):
                unreadable.failed_package = unreadable.failed_package or line[:_MAX_SHOWN].rstrip()
            continue
        if without and without in line:
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            unreadable.add(number)
        else:
            yield value
