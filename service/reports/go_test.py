"""Streaming reader of `go test -json`: one event per line, of packages and tests that run at the same time."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Final

from service.contracts.run_events import ResultIn
from service.domain.properties import PropertyCollector
from service.domain.statuses import ResultStatus
from service.reports.bounded_text import BoundedText
from service.reports.chunks import in_lists
from service.reports.errors import malformed
from service.reports.json_lines import read_objects
from service.reports.metadata import ReportMetadata
from service.reports.suites import SUITE_LEVEL_NAME
from service.reports.times import utc_timestamp, valid_milliseconds

_MAX_STARTED: Final = 100_000  # tests, packages, and builds without an end
_MAX_OUTPUT: Final = 32 * 2**20  # characters of all tests, packages, and builds without an end

# `bench` is the end of a benchmark that wrote a log.
_STATUS_OF: Final[dict[str, ResultStatus]] = {"pass": "passed", "bench": "passed", "fail": "failed", "skip": "skipped"}
# Output that doesn't explain a failure: the progress of a test, and the outcome of a package.
_PROGRESS: Final = ("=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME ", "PASS\n", "FAIL\n")
_BUILD_TITLE: Final = "# "
_MEASUREMENT: Final = " ns/op"
_NO_END: Final = "The test has no end: its package stopped, for example after a panic, an exit, or a timeout."
_NO_PACKAGE_END: Final = "The report ends before the package."


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size, in the order in which the tests end.

    Raises ReportError if an event isn't valid JSON.
    """
    yield from in_lists(_results(source, metadata))
    metadata.add_notes()


def _results(source: BinaryIO, metadata: ReportMetadata) -> Iterator[ResultIn]:
    reader = _GoTestReader(metadata)
    for event in read_objects(source):
        yield from reader.process(event)
    yield from reader.finish()


class _Started:
    """A test, package, or build that has started and not ended."""

    __slots__ = ("has_failures", "is_measured", "output", "properties", "started_at", "tests")

    def __init__(self) -> None:
        self.started_at: datetime | None = None
        self.output: BoundedText | None = None
        self.properties: PropertyCollector | None = None
        self.is_measured = False  # of a benchmark: it has a measurement, but no end unless it fails or writes a log
        self.tests: dict[str, _Started] = {}  # of a package
        self.has_failures = False  # of a package


class _GoTestReader:
    """Collects the output of tests, packages, and builds until they end."""

    def __init__(self, metadata: ReportMetadata) -> None:
        self._metadata = metadata
        self._packages: dict[str, _Started] = {}
        self._builds: dict[str, _Started] = {}
        self._failed_builds: dict[str, None] = {}  # that no failed package names
        self._started = self._output_size = 0
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
            return [self._end_test(package, name, event)] if test else self._end_package(package, name, event)
        if action == "start":
            package.started_at = utc_timestamp(time)
        elif action == "run" and test and test not in package.tests:
            self._start(package.tests, test).started_at = utc_timestamp(time)
        elif action == "output":
            self._add_test_output(package, test, _text(event, "Output"))
        elif action == "attr" and test in package.tests:
            self._add_property(package.tests[test], _text(event, "Key"), _text(event, "Value"))
        return []

    def finish(self) -> list[ResultIn]:
        """Return the results of tests and packages without an end, and of failed builds that no package names."""
        self._metadata.times.set_end(utc_timestamp(self._last_time))
        results: list[ResultIn] = []
        for name, package in list(self._packages.items()):
            if package.started_at or package.tests:
                self._add_output(package, _NO_PACKAGE_END)
                results += self._end_package(package, name, {"Action": "fail"})
        return results + [self._suite_level(path.partition(" ")[0], path, "") for path in self._failed_builds]

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
        self._add_duration(result, event.get("Elapsed"))
        if test.started_at:
            result["started_at"] = test.started_at
        if test.properties:
            result["properties"] = test.properties.pairs
        output = self._release(test)
        if output and status != "passed":
            result["failure"] = {"details": output}
        package.has_failures |= status == "failed"
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
        output, build = self._release(package), _text(event, "FailedBuild")
        if has_failed and not package.has_failures:
            results.append(self._suite_level(name, build, output))
        self._failed_builds.pop(build, None)
        return results

    def _suite_level(self, package: str, build: str, output: str) -> ResultIn:
        """Return a failure that belongs to no test as a separate result, so that it isn't lost."""
        messages = self._builds[build].output if build in self._builds else None
        details = f"{messages.text if messages else ''}{output}".rstrip()
        return {"suite": package, "name": SUITE_LEVEL_NAME, "status": "error", "failure": {"details": details}}

    def _process_build(self, path: str, event: Mapping[str, Any]) -> None:
        output = _text(event, "Output")
        build = self._builds.get(path) or self._start(self._builds, path)
        if event.get("Action") == "build-fail":
            self._failed_builds[path] = None
        elif not output.startswith(_BUILD_TITLE):
            self._add_output(build, output)

    def _add_test_output(self, package: _Started, name: str, output: str) -> None:
        self._add_output(package.tests.get(name, package), output)
        while name in package.tests and _MEASUREMENT in output:  # the benchmark and those that contain it
            package.tests[name].is_measured = name.startswith("Benchmark")
            name = name.rpartition("/")[0]

    def _add_output(self, started: _Started, output: str) -> None:
        if output.startswith(_PROGRESS) or self._output_size + len(output) > _MAX_OUTPUT:
            return
        started.output = started.output or BoundedText()
        self._output_size += started.output.add(output)

    def _add_property(self, test: _Started, name: str, value: str) -> None:
        test.properties = test.properties or PropertyCollector()
        self._metadata.dropped_properties += not test.properties.add(name, value)

    def _add_duration(self, result: ResultIn, elapsed: Any) -> None:
        duration_ms = valid_milliseconds(elapsed * 1000) if isinstance(elapsed, int | float) else None
        if duration_ms is not None:
            result["duration_ms"] = duration_ms
        elif elapsed is not None:
            self._metadata.unreadable.add(elapsed)

    def _release(self, started: _Started) -> str:
        """Return the output, and stop counting what has ended."""
        self._started -= 1
        if started.output is None:
            return ""
        self._output_size -= started.output.size
        return started.output.text.strip("\n")


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""
