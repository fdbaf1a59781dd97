"""A pytest plugin that writes evidence and results for `zof-results run`, and excuses quarantined failures.

It does nothing unless the variable RESULTS_SPOOL_FOLDER names a folder. It needs only pytest ≥ 7.0 and Python ≥ 3.8,
because it runs in the environment of the tests. Its exceptions never reach pytest: they become problems in the evidence.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import sys
from pathlib import Path
from typing import Any, Generator  # noqa: UP035 - Python 3.8

import pytest
from _pytest import junitxml

VARIABLE = "RESULTS_SPOOL_FOLDER"
_WORKER_INPUT = "zof_results_quarantines"
_MAIN = ("pytest", "pytest.__main__", "py.test", "pytest.exe")  # modules and files that only start pytest
_STATUS_OF_TAG = {"failure": "failed", "error": "error", "skipped": "skipped"}
_MAX_PROBLEMS, _MAX_PROBLEM, _MAX_DETAILS = 100, 500, 200_000
_CLASS_SEPARATORS = (".", "::", "/", " > ")

_recorders: list[Recorder] = []  # of the sessions of this process


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, None]:
    """Observe a whole session. Nothing that pytest does afterwards can change its exit code."""
    recorder = None
    try:
        recorder = _start(config)
    except Exception as error:
        sys.stderr.write(f"zof-results: the plugin can't start: {error!r}\n")
    outcome = yield
    if recorder:
        recorder.finish(outcome)


def _start(config: pytest.Config) -> Recorder | None:
    """Register the plugin of a worker or of a session. Take the variable away from nested sessions of pytest."""
    if hasattr(config, "workerinput"):
        quarantines = config.workerinput.get(_WORKER_INPUT)
        if quarantines is not None:
            config.pluginmanager.register(Excuser(config, quarantines), "zof-results-excuser")
        return None
    folder = os.environ.pop(VARIABLE, "")
    if not os.path.isdir(folder):
        if _recorders and _recorders[-1].finished:
            _recorders[-1].write_evidence(True, "session: pytest ran more than once in one process")
        return None
    recorder = Recorder(config, Path(folder))
    _recorders.append(recorder)
    config.pluginmanager.register(recorder, "zof-results-recorder")
    return recorder


class Excuser:
    """Marks the failures that are only of their test, and excuses those that are quarantined, also in workers."""

    def __init__(self, config: pytest.Config, quarantines: list[list[str]]) -> None:
        self.suite: str = config.getini("junit_suite_name")
        self.prefix: str | None = config.option.junitprefix
        self.quarantined: dict[tuple[str, str], str] = {(suite, name): found for suite, name, found in quarantines}
        self.problems: list[str] = []
        self._next: pytest.Item | None = None
        self._excused: set[str] = set()  # IDs of tests

    def doubt(self, problem: str) -> None:
        """Add a problem, so that nothing is excused."""
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem[:_MAX_PROBLEM])

    def names_of(self, node_id: str) -> tuple[str, str]:
        """Return the suite and the name of a test, as the service reads them from the JUnit XML of pytest."""
        *parents, name = junitxml.mangle_test_address(node_id)
        owner = ".".join([self.prefix, *parents] if self.prefix else parents)
        if owner == self.suite:
            owner = ""
        for separator in _CLASS_SEPARATORS:
            if owner.startswith(self.suite + separator):
                owner = owner[len(self.suite + separator) :]
                break
        return f"{self.suite} > {owner}" if owner else self.suite, junitxml.bin_xml_escape(name)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, None]:
        """Note the scope of a fixture in its exception, which later tests raise again."""
        outcome = yield
        if outcome.excinfo:
            error = outcome.excinfo[1]
            with contextlib.suppress(Exception):
                error.zof_results_scopes = {fixturedef.scope, *getattr(error, "zof_results_scopes", ())}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> None:
        """Note the next test, which decides what the teardown ends."""
        self._next = nextitem

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, None]:
        """Mark the failure of a setup or a teardown if no other test can have the same one."""
        outcome = yield
        if call.excinfo and call.when != "call" and not outcome.excinfo:
            if call.when == "setup":
                is_own = getattr(call.excinfo.value, "zof_results_scopes", ()) == {"function"}
            else:
                is_own = self._next is not None and self._next.parent is item.parent
            outcome.get_result().zof_results_is_own = is_own

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, None, None]:
        """Handle a report before pytest counts it for `-x` and `--maxfail`, and after other plugins run tests again."""
        try:
            if self.quarantined:
                self._excuse(report)
            self.count(report)
        except Exception as error:
            self.doubt(f"plugin: {error!r}")
        yield
        try:
            self.record(report)
        except Exception as error:
            self.doubt(f"plugin: {error!r}")

    def _excuse(self, report: Any) -> None:
        """Show a quarantined failure as expected. A test with an excused subtest fails too."""
        contains_excused = report.outcome == "passed" and report.when == "call" and report.nodeid in self._excused
        if not (contains_excused or (is_failure(report) and is_own(report))):
            return
        if found := self.quarantined.get(self.names_of(report.nodeid)):
            self._excused.add(report.nodeid)
            report.zof_results_excused = report.outcome
            report.outcome, report.wasxfail = "skipped", f"quarantined: {found}"

    def count(self, report: Any) -> None:
        """Do nothing: only the process that started the session counts."""

    def record(self, report: Any) -> None:
        """Do nothing: only the process that started the session records."""


def is_failure(report: Any) -> bool:
    """Return whether pytest counts the report as a failure."""
    return bool(report.outcome == "failed") and not hasattr(report, "wasxfail")


def is_own(report: Any) -> bool:
    """Return whether a failure is only of its test. A crashed worker has another stage."""
    return report.when == "call" or getattr(report, "zof_results_is_own", False)


def unexcused(report: Any) -> Any:
    """Return a report as it was before it was excused."""
    if hasattr(report, "zof_results_excused"):
        report = copy.copy(report)
        report.outcome = report.zof_results_excused
        del report.wasxfail
    return report


class _Test:
    """A test that hasn't ended."""

    __slots__ = ("attempts", "duration", "failures", "is_rerun", "report")

    def __init__(self) -> None:
        self.attempts: list[dict[str, Any]] = []
        self.duration = 0.0  # of the current attempt, in seconds
        self.failures: list[tuple[str, dict[str, Any]]] = []
        self.is_rerun = False
        self.report: Any = None  # the last one


class Recorder(Excuser):
    """Records the results and the evidence of a session."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.finished = False
        self._pid = os.getpid()
        self._evidence = folder / f"evidence-{self._pid}.json"
        self._session: pytest.Session | None = None
        self._exit_code: Any = None
        self._counted = 0  # failed reports, as the session counts them
        self._failed: set[str] = set()
        self._collected: set[str] = set()  # modules with a result
        self._open: dict[Any, _Test] = {}
        self._results: int | None = None
        self._xml = junitxml.LogXML(os.devnull, None)
        self.problems = []
        self.write_evidence(False)
        quarantines: list[list[str]] = []
        if json.loads((folder / "upload.json").read_text(encoding="utf-8"))["live"]:
            results = folder / f"results-{self._pid}.ndjson"
            self._results = os.open(results, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._write({"run": {}, "portable_names": True})
            listed = folder / "quarantines.json"
            if listed.exists():
                found = json.loads(listed.read_text(encoding="utf-8"))["quarantines"]
                quarantines = [[each["suite"], each["name"], each["id"]] for each in found]
        super().__init__(config, quarantines)
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        started_by = spec.name if spec else os.path.basename(getattr(main, "__file__", None) or "a program")
        if started_by not in _MAIN:
            self.doubt(f"exit_code: {started_by} started pytest, and can exit with the code for another reason")

    def write_evidence(self, finished: bool, *problems: str) -> None:
        """Replace the file of the evidence."""
        self.finished = finished
        for problem in problems:
            self.doubt(problem)
        evidence = {
            "format": 1, "tool": "pytest", "version": pytest.__version__, "finished": finished,
            "exit_code": None if self._exit_code is None else int(self._exit_code), "failed_tests": len(self._failed),
            "problems": self.problems,
        }  # fmt: skip
        temporary = self._evidence.with_suffix(".tmp")
        temporary.write_text(json.dumps(evidence), encoding="utf-8")
        temporary.replace(self._evidence)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Pass the quarantines to a worker of pytest-xdist."""
        node.workerinput[_WORKER_INPUT] = [[suite, name, found] for (suite, name), found in self.quarantined.items()]

    def pytest_internalerror(self, excrepr: object) -> None:
        """Note an error of pytest or of a plugin."""
        self.doubt(f"internal error: {str(excrepr)[-400:]}")

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Note an interruption, or a call of `pytest.exit`."""
        self.doubt(f"interrupted: {excinfo.value!r}")

    def pytest_collectreport(self, report: Any) -> None:
        """Record a module that can't be collected, or that is skipped."""
        try:
            if report.outcome == "passed":
                return
            if report.outcome == "failed":
                self._counted += 1
                self.doubt(f"collection: {report.nodeid}")
            if report.nodeid not in self._collected and self._results is not None:
                self._collected.add(report.nodeid)
                self._close(report, _Test(), self._failure_of(report))
        except Exception as error:
            self.doubt(f"plugin: {error!r}")

    def count(self, report: Any) -> None:
        """Count a failure as pytest does. A hook for a report can change a test with failed subtests afterwards."""
        self._counted += report.outcome == "failed" and is_failure(report)

    def record(self, report: Any) -> None:
        """Note a report, and write the result of the test after its last one."""
        outcome, when, node_id = report.outcome, report.when, report.nodeid
        key = node_id, getattr(report, "node", None)
        test = self._open.get(key)
        if test is None:
            test = self._open[key] = _Test()
        elif test.is_rerun and when == "setup":
            self._end_attempt(test)
        test.report = report
        test.duration += getattr(report, "duration", 0.0)
        if outcome != "passed":
            is_excused = hasattr(report, "zof_results_excused")
            if is_excused or is_failure(report):
                self._failed.add(node_id)
                if is_excused:
                    self._excused.add(node_id)  # also if a worker excused it
                elif not is_own(report):
                    self.doubt(f"{'worker' if when == '???' else when}: {node_id}")
            test.is_rerun |= outcome == "rerun"
            if self._results is not None and unexcused(report).outcome != "passed":
                test.failures.append(self._failure_of(unexcused(report)))
        if when in ("teardown", "???") and not test.is_rerun:
            self._close(report, self._open.pop(key))

    def _end_attempt(self, test: _Test) -> None:
        """Keep an attempt before a rerun. Its status is the one in the JUnit XML."""
        attempt = {"status": "failed", "duration_ms": round(test.duration * 1000), "failure": _join(test.failures)}
        test.attempts.append(attempt)
        test.duration, test.failures, test.is_rerun = 0.0, [], False

    def _failure_of(self, report: Any) -> tuple[str, dict[str, Any]]:
        """Return the status and the texts of a report that didn't pass, as this version writes them into JUnit XML."""
        xml = self._xml
        reporter = xml.node_reporter(report.nodeid)
        is_skipped = report.outcome == "skipped"
        if not hasattr(report, "when") or report.when == "collect":
            add: Any = reporter.append_collect_skipped if is_skipped else reporter.append_collect_error
        elif is_skipped:
            add = reporter.append_skipped
        else:
            add = reporter.append_failure if report.when == "call" else reporter.append_error
        add(report)
        node = reporter.nodes[0]
        xml.node_reporters.clear()
        del xml.node_reporters_ordered[:]
        texts = {
            "type": node.get("type"), "message": node.get("message"), "details": (node.text or "").strip()[:_MAX_DETAILS]
        }  # fmt: skip
        return _STATUS_OF_TAG[node.tag], {key: text for key, text in texts.items() if text}

    def _close(self, report: Any, test: _Test, *failures: tuple[str, dict[str, Any]]) -> None:
        """Write the result of a test in one line."""
        if self._results is None:
            return
        test.failures.extend(failures)
        suite, name = self.names_of(report.nodeid)
        file, line, _ = report.location
        duration_ms = round(test.duration * 1000)
        result: dict[str, Any] = {
            "suite": suite,
            "name": name,
            "status": "passed",
            "file": file,
            "duration_ms": duration_ms,
        }
        if line is not None:
            result["line"] = line + 1
        if test.failures:
            statuses = [status for status, _ in test.failures]
            result["status"] = next(status for status in ("error", "failed", "skipped") if status in statuses)
            result["failure"] = _join(test.failures)
        if test.attempts:
            last = {key: result[key] for key in ("status", "duration_ms", "failure") if key in result}
            result["attempts"] = [*test.attempts, last]
            result["duration_ms"] = sum(attempt["duration_ms"] for attempt in result["attempts"])
        if properties := getattr(report, "user_properties", None):
            result["properties"] = _properties(properties)
        self._write(result)

    def _write(self, record: dict[str, Any]) -> None:
        """Write a record with one call, so that a killed process loses no test that has ended. A fork writes nothing."""
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if self._results is not None and os.getpid() == self._pid and os.write(self._results, line) != len(line):
            self._results = None
            self.doubt("results: the disk is full")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, None]:
        """Replace the exit code by an equal object, so that a plugin that sets the same code is noticed."""
        try:
            self._session = session
            code = pytest.ExitCode(session.exitstatus)
            self._exit_code = int.__new__(pytest.ExitCode, code)
            self._exit_code._name_, self._exit_code._value_ = code.name, code.value
            session.exitstatus = self._exit_code
        except Exception as error:
            self.doubt(f"exit_code: {error!r}")
        outcome = yield
        if outcome.excinfo:
            self.doubt(f"end of the session: {outcome.excinfo[1]!r}")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """State the number of quarantined failures."""
        if count := len(self._excused):
            terminalreporter.write_line(
                f"zof-results: {count} tests failed, but are quarantined. The exit code isn't 0."
            )

    def finish(self, outcome: Any) -> None:
        """Set the exit code if only quarantined tests failed, so that `run` decides, and write the evidence."""
        try:
            code = None if outcome.excinfo else outcome.get_result()
            if self._excused and code in (0, 5):
                outcome.force_result(pytest.ExitCode.TESTS_FAILED)
            if os.getpid() == self._pid:
                problems = self._problems_of_end(outcome.excinfo[1] if outcome.excinfo else None, code)
                self._exit_code = None if outcome.excinfo else outcome.get_result()
                for (node_id, _), test in self._open.items():
                    problems.append(f"session: {node_id} didn't end")
                    if test.failures:
                        self._close(test.report, test)
                self.write_evidence(True, *problems)
        except Exception as error:
            sys.stderr.write(f"zof-results: the plugin can't write its evidence: {error!r}\n")

    def _problems_of_end(self, error: BaseException | None, code: Any) -> list[str]:
        """Return the reasons for the exit code that aren't failed tests.

        A stop after `--maxfail` isn't one: the service notices tests that weren't executed.
        """
        session = self._session
        if error or session is None:
            return [f"exit_code: pytest ended with {error!r}" if error else "session: pytest executed no tests"]
        stops = [str(stop) for stop in (session.shouldfail, session.shouldstop) if stop]
        checks = {
            f"exit_code: {code} doesn't state failed tests": code not in (0, 1, 5),
            "exit_code: a plugin changed it": code is not self._exit_code,
            "exit_code: no test explains it": code == 1 and not self._counted,
            f"exit_code: pytest counts {session.testsfailed} failures, and the plugin {self._counted}": (
                session.testsfailed != self._counted
            ),
            f"session: {stops}": any(not stop.startswith("stopping after") for stop in stops),
        }
        return [problem for problem, applies in checks.items() if applies]


def _join(failures: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the texts of all failures of a test. The type and the message are of the first one that isn't a skip."""
    texts = [text for status, text in sorted(failures, key=lambda failure: failure[0] == "skipped")]
    if len(texts) < 2:
        return texts[0] if texts else {}
    return {**texts[0], "details": "\n\n".join(map(_full_text, texts))[:_MAX_DETAILS]}


def _full_text(text: dict[str, Any]) -> str:
    message, details = text.get("message", ""), text.get("details", "")
    return details if message.strip() in details else f"{message}\n{details}".rstrip()


def _properties(pairs: list[tuple[str, Any]]) -> dict[str, str]:
    """Return the properties. Different values of one name become lines of one value."""
    found: dict[str, str] = {}
    for name, value in ((junitxml.bin_xml_escape(name), junitxml.bin_xml_escape(value)) for name, value in pairs):
        if f"\n{value}\n" not in f"\n{found.get(name)}\n":
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found
