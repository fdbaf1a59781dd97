"""The pytest plugin of `zof-results run`: it writes evidence and results, and excuses quarantined failures.

It does this only if the variable RESULTS_SPOOL_FOLDER names a folder. The exceptions of this never reach pytest: they
become problems in the evidence. With `--zof-split`, the plugin keeps the tests of one part, also without `run`. It runs
in the environment of the tests, so it needs only pytest ≥ 7.0 and Python ≥ 3.10.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from _pytest import junitxml

_VARIABLE = "RESULTS_SPOOL_FOLDER"
_WORKER_INPUT = "zof_results_quarantines"
_WORKER_OUTPUT = "zof_results_split"
_SPLIT_TIMEOUT_S = 60
_STARTERS = ("pytest", "pytest.__main__", "py.test", "pytest.exe")  # modules and files that only start pytest
_STATUS_OF_TAG = {"error": "error", "failure": "failed", "skipped": "skipped"}  # the worst one first
_MAX_PROBLEMS, _MAX_PROBLEM, _MAX_DETAILS = 100, 500, 200_000
_encode = json.JSONEncoder(ensure_ascii=False).encode
_sessions: list[Recorder] = []  # of this process


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that select a part of the tests."""
    add = parser.getgroup("zof-results", "parallel jobs with zof-results").addoption
    add("--zof-split", metavar="I/N", help="run only part I of N; `auto`: the part of the CI job")
    add("--zof-split-key", metavar="KEY", help="key of the split (default: the name of the CI job)")
    add("--zof-split-unit", choices=["file", "case"], default="file", help="what a part consists of (default: file)")
    add("--zof-split-project", metavar="ID", help="project of the results (default: RESULTS_PROJECT)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin of splits."""
    if config.option.zof_split is not None:
        config.pluginmanager.register(Splitter(config), "zof-results-splitter")


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
        try:
            recorder.finish(outcome)
        except Exception as error:  # the evidence stays unfinished
            sys.stderr.write(f"zof-results: the plugin can't write its evidence: {error!r}\n")


def _start(config: pytest.Config) -> Recorder | None:
    """Register the plugin of a worker or of a session. Remove the variable, so that nested sessions write nothing."""
    if hasattr(config, "workerinput"):
        if _WORKER_INPUT in config.workerinput:
            config.pluginmanager.register(Excuser(config, config.workerinput[_WORKER_INPUT]), "zof-results-excuser")
        return None
    folder = os.environ.pop(_VARIABLE, "")
    if os.path.isdir(folder):
        _sessions.append(Recorder(config, Path(folder)))
        config.pluginmanager.register(_sessions[-1], "zof-results-recorder")
        return _sessions[-1]
    if _sessions and _sessions[-1].finished:
        _sessions[-1].write_evidence(True, "session: pytest ran more than once in one process")
    return None


class Excuser:
    """Excuses quarantined failures of tests, also in the workers of pytest-xdist."""

    def __init__(self, config: pytest.Config, quarantines: list[list[str]]) -> None:
        self.quarantined = {(suite, name): found for suite, name, found in quarantines}
        self.excused: set[str] = set()  # IDs of tests
        is_known = config.pluginmanager.has_plugin("junitxml")
        self._suite = str(config.getini("junit_suite_name")) if is_known else "pytest"
        self._prefix = config.option.junitprefix if is_known else None
        self._next: pytest.Item | None = None

    def names_of(self, node_id: str) -> tuple[str, str]:
        """Return the suite and the name of a test, as the service reads them from the JUnit XML of pytest."""
        *parents, name = junitxml.mangle_test_address(node_id)
        owner, suite = ".".join([self._prefix, *parents] if self._prefix else parents), self._suite
        if owner.startswith(suite):  # is very rare
            repeated = (suite + separator for separator in (".", "::", "/", " > "))
            owner = owner[len(next(filter(owner.startswith, repeated), "")) :]
        return f"{suite} > {owner}" if owner and owner != suite else suite, junitxml.bin_xml_escape(name)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, None]:
        """Note the scope of a fixture in its exception, which later tests raise again."""
        outcome = yield
        if outcome.excinfo:
            with contextlib.suppress(Exception):
                error = outcome.excinfo[1]
                error.zof_results_scopes = {fixturedef.scope, *getattr(error, "zof_results_scopes", ())}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> None:
        """Note the next test, which decides what the teardown ends."""
        self._next = nextitem

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, None]:
        """Mark a failed setup or teardown if it belongs only to its test."""
        outcome = yield
        if call.excinfo and call.when != "call" and not outcome.excinfo:
            with contextlib.suppress(Exception):
                if call.when == "setup":
                    is_own = getattr(call.excinfo.value, "zof_results_scopes", ()) == {"function"}
                else:
                    is_own = self._next is not None and self._next.parent is item.parent
                outcome.get_result().zof_results_is_own = is_own

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, None, None]:
        """Excuse a failure before pytest counts it, and after other plugins have decided whether to repeat the test."""
        if report.outcome == "failed" or self.excused:
            with contextlib.suppress(Exception):  # it stays a failure
                self._excuse(report)
        yield

    def _excuse(self, report: Any) -> None:
        """Show a quarantined failure as an expected one. A test with an excused subtest fails too."""
        has_subtest = report.outcome == "passed" and report.when == "call" and report.nodeid in self.excused
        if has_subtest or (is_failure(report) and is_own(report)):
            found = self.quarantined.get(self.names_of(report.nodeid))
            if found:
                self.excused.add(report.nodeid)
                report.zof_results_outcome, report.outcome = report.outcome, "skipped"
                report.wasxfail = f"quarantined: {found}"


def is_failure(report: Any) -> bool:
    """Return whether pytest counts the report as a failure."""
    return bool(report.outcome == "failed") and not hasattr(report, "wasxfail")


def is_own(report: Any) -> bool:
    """Return whether a failure belongs only to its test. The report of a crashed worker has none of the stages."""
    return report.when == "call" or getattr(report, "zof_results_is_own", False)


class _Test:
    """A test that hasn't ended. `report` is the last one. All fields but `attempts` are of the current attempt."""

    def __init__(self) -> None:
        self.attempts: list[dict[str, Any]] = []
        self.report: Any = None
        self.start()

    def start(self) -> None:
        """Start the next attempt."""
        self.seconds, self.is_rerun = 0.0, False
        self.failures: list[tuple[str, dict[str, Any]]] = []  # statuses and texts


class Recorder(Excuser):
    """Records the results and the evidence of a session."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.finished = False
        self._pid, self._counted = os.getpid(), 0  # failed reports, as pytest counts them
        self._exit_code: int | None = None
        self._evidence = folder / f"evidence-{self._pid}.json"
        self._results: int | None = None
        self._problems: list[str] = []
        self._failed: set[str] = set()  # IDs of tests
        self._collected: set[str] = set()  # IDs of modules that are a result
        self._open: dict[Any, _Test] = {}
        self._session: pytest.Session | None = None
        self._xml = junitxml.LogXML(os.devnull, None)
        self.write_evidence(False)
        super().__init__(config, [])
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        starter = spec.name if spec else os.path.basename(getattr(main, "__file__", None) or "a program")
        if starter not in _STARTERS:
            self._doubt(f"exit_code: {starter} started pytest, and can exit with the code for another reason")
        if json.loads((folder / "upload.json").read_bytes())["live"]:
            results, listed = folder / f"results-{self._pid}.ndjson", folder / "quarantines.json"
            self._results = os.open(str(results), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._write({"run": {}, "portable_names": True})
            quarantines = json.loads(listed.read_bytes())["quarantines"] if listed.exists() else []
            self.quarantined = {(each["suite"], each["name"]): each["id"] for each in quarantines}

    def write_evidence(self, finished: bool, *problems: str) -> None:
        """Replace the file of the evidence."""
        self.finished = finished
        for problem in problems:
            self._doubt(problem)
        evidence = {
            "format": 1, "tool": "pytest", "version": pytest.__version__, "finished": finished,
            "exit_code": self._exit_code, "failed_tests": len(self._failed), "problems": self._problems,
        }  # fmt: skip
        temporary = self._evidence.with_suffix(".tmp")
        temporary.write_text(json.dumps(evidence), encoding="utf-8")
        temporary.replace(self._evidence)

    def _doubt(self, problem: str) -> None:
        if len(self._problems) < _MAX_PROBLEMS:
            self._problems.append(problem[:_MAX_PROBLEM])

    def _note(self, kind: str, error: object) -> None:
        self._guard(lambda value: self._doubt(f"{kind}: {str(value)[-400:] or repr(value)}"), error)

    def _guard(self, step: Callable[[Any], None], argument: Any) -> None:
        try:
            step(argument)
        except Exception as error:
            self._doubt(f"plugin: {error!r}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Pass the quarantines to a worker of pytest-xdist."""
        node.workerinput[_WORKER_INPUT] = [[suite, name, found] for (suite, name), found in self.quarantined.items()]

    def pytest_internalerror(self, excrepr: object) -> None:
        """Note an error of pytest or of a plugin."""
        self._note("internal error", excrepr)

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Note an interruption, or a call of `pytest.exit`."""
        self._note("interrupted", excinfo.value)

    def pytest_collectreport(self, report: Any) -> None:
        """Record a module that can't be collected, or that is skipped."""
        if report.outcome != "passed":
            self._guard(self._record_module, report)

    def _record_module(self, report: Any) -> None:
        if report.outcome == "failed":
            self._counted += 1
            self._doubt(f"collection: {report.nodeid}")
        if self._results is not None and report.nodeid not in self._collected:
            self._collected.add(report.nodeid)
            test = _Test()
            test.failures.append(self._failure_of(report))
            self._write_result(report, test)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> Generator[None, None, None]:
        """Record a report after all hooks, one of which fails a test with failed subtests that pytest doesn't count."""
        if report.outcome == "failed" or self.excused:
            self._guard(self._excuse, report)
            self._counted += is_failure(report)
        yield
        self._guard(self._record, report)

    def _record(self, report: Any) -> None:
        """Note a report, and write the result of the test after its last one."""
        when, key = report.when, (report.nodeid, getattr(report, "node", None))
        test = self._open.get(key)
        if test is None:
            test = self._open[key] = _Test()
        elif test.is_rerun and when == "setup":
            failed = {"status": "failed", "duration_ms": round(test.seconds * 1000), "failure": _join(test.failures)}
            test.attempts.append(failed)  # has this status in JUnit XML too
            test.start()
        test.report = report
        test.seconds += getattr(report, "duration", 0.0)
        if report.outcome in ("failed", "skipped", "rerun"):  # plugins have others, which JUnit XML omits too
            self._record_failure(report, test)
        if when in ("teardown", "???") and not test.is_rerun:
            self._write_result(report, self._open.pop(key))

    def _record_failure(self, report: Any, test: _Test) -> None:
        """Note a report that isn't passed: a failure, a skip, or an attempt that is repeated."""
        test.is_rerun |= report.outcome == "rerun"
        if hasattr(report, "zof_results_outcome"):
            self.excused.add(report.nodeid)  # by a worker
            self._failed.add(report.nodeid)
            report = copy.copy(report)
            report.outcome = report.zof_results_outcome
            del report.wasxfail
        elif is_failure(report):
            self._failed.add(report.nodeid)
            if not is_own(report):
                self._doubt(f"{'worker' if report.when == '???' else report.when}: {report.nodeid}")
        if self._results is not None and report.outcome != "passed":
            test.failures.append(self._failure_of(report))

    def _failure_of(self, report: Any) -> tuple[str, dict[str, Any]]:
        """Return the status and the texts of a report, as this version of pytest writes them into JUnit XML."""
        reporter = self._xml.node_reporter(report.nodeid)
        kind = {"call": "failure", "collect": "collect_error"}.get(report.when, "error")
        if report.outcome == "skipped":
            kind = "collect_skipped" if report.when == "collect" else "skipped"
        getattr(reporter, f"append_{kind}")(report)
        self._xml.node_reporters.clear()
        self._xml.node_reporters_ordered.clear()
        node = reporter.nodes[0]
        details = (node.text or "").strip()[:_MAX_DETAILS]
        texts = {"type": node.get("type"), "message": node.get("message"), "details": details}
        return _STATUS_OF_TAG[node.tag], {key: text for key, text in texts.items() if text}

    def _write_result(self, report: Any, test: _Test) -> None:
        if self._results is None:
            return
        suite, name = self.names_of(report.nodeid)
        file, line, _ = report.location
        last: dict[str, Any] = {"status": "passed", "duration_ms": round(test.seconds * 1000)}
        if test.failures:
            statuses = [status for status, _ in test.failures]
            last["status"] = next(status for status in _STATUS_OF_TAG.values() if status in statuses)
            last["failure"] = _join(test.failures)
        result = {"suite": suite, "name": name, "file": file, **last}
        if line is not None:
            result["line"] = line + 1
        if test.attempts:
            result["attempts"] = [*test.attempts, last]
            result["duration_ms"] = sum(attempt["duration_ms"] for attempt in result["attempts"])
        if getattr(report, "user_properties", None):
            result["properties"] = _properties(report.user_properties)
        self._write(result)

    def _write(self, record: dict[str, Any]) -> None:
        """Write a record with one call, so that a killed process loses no test that ended. A fork writes nothing."""
        line = _encode(record).encode("utf-8", "replace") + b"\n"
        if self._results is not None and os.getpid() == self._pid and os.write(self._results, line) != len(line):
            self._results = None
            self._doubt("results: the disk is full")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, None]:
        """Replace the exit code by an equal object, so that a plugin that sets the same code is noticed."""
        self._session = session
        self._guard(self._replace_exit_code, session)
        outcome = yield
        if outcome.excinfo:
            self._note("end of the session", outcome.excinfo[1])

    def _replace_exit_code(self, session: pytest.Session) -> None:
        code = pytest.ExitCode(session.exitstatus)
        marked = int.__new__(pytest.ExitCode, code)
        marked._name_, marked._value_ = code.name, code.value
        self._exit_code = session.exitstatus = marked

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """State the number of quarantined failures."""
        if self.excused:
            line = f"zof-results: failed, but quarantined: {len(self.excused)}. Only `zof-results run` excuses them."
            terminalreporter.write_line(line)

    def finish(self, outcome: Any) -> None:
        """Set the exit code if only quarantined tests failed, so that `run` decides, and write the evidence."""
        error, code = outcome.excinfo and outcome.excinfo[1], None if outcome.excinfo else outcome.get_result()
        if self.excused and code in (0, 5):
            outcome.force_result(pytest.ExitCode.TESTS_FAILED)
        if os.getpid() == self._pid:
            problems = self._problems_of_end(error, code)
            for test in self._open.values():
                if test.failures:
                    self._write_result(test.report, test)
            self._exit_code = None if code is None else int(outcome.get_result())
            self.write_evidence(code in (0, 1, 5), *problems)  # otherwise, results are missing

    def _problems_of_end(self, error: BaseException | None, code: Any) -> list[str]:
        """Return the reasons for the exit code that aren't failed tests.

        A stop after `--maxfail` isn't one: the service notices tests that weren't executed.
        """
        session = self._session
        if error or session is None:
            return [f"exit_code: pytest ended with {error!r}" if error else "session: pytest executed no tests"]
        stops = [str(stop) for stop in (session.shouldfail, session.shouldstop) if stop]
        counts = f"pytest counts {session.testsfailed} failures, and the plugin {self._counted}"
        checks = {
            f"exit_code: {code} doesn't state failed tests": code not in (0, 1, 5),
            "exit_code: a plugin changed it": code is not self._exit_code,
            "exit_code: no test explains it": code == 1 and not self._counted,
            f"exit_code: {counts}": session.testsfailed != self._counted,
            f"session: {stops}": not all(stop.startswith("stopping after") for stop in stops),
            f"session: tests didn't end: {[node_id for node_id, _ in self._open]}": bool(self._open),
        }
        return [problem for problem, applies in checks.items() if applies]


def _join(failures: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the texts of all failures of a test. The type and the message are of the first one that isn't a skip."""
    texts = [text for _, text in sorted(failures, key=lambda failure: failure[0] == "skipped")]
    if len(texts) == 1:
        return texts[0]
    details = "\n\n".join(map(_full_text, texts))
    return {**texts[0], "details": details[:_MAX_DETAILS]}


def _full_text(text: dict[str, Any]) -> str:
    message, details = text.get("message", ""), text.get("details", "")
    return details if message.strip() in details else f"{message}\n{details}".rstrip()


def _properties(pairs: list[tuple[str, Any]]) -> dict[str, str]:
    """Return the properties of a test. Different values of one name become lines of one value."""
    found: dict[str, str] = {}
    for name, value in (map(junitxml.bin_xml_escape, pair) for pair in pairs):
        if f"\n{value}\n" not in f"\n{found.get(name)}\n":
            found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


class Splitter:
    """Keeps the tests of one part. Each worker of pytest-xdist does, and the client gives all of them the same part."""

    def __init__(self, config: pytest.Config) -> None:
        self._unit = config.option.zof_split_unit
        self._names_of = Excuser(config, []).names_of
        self._uncollected: set[str] = set()  # items
        self._is_empty = False

    def _item_of(self, node_id: str) -> str:
        return node_id.partition("::")[0] if self._unit == "file" else " > ".join(self._names_of(node_id))

    def pytest_collectreport(self, report: Any) -> None:
        """Note a module that can't be collected, so that jobs in which it can be have the same items."""
        if report.outcome == "failed":
            self._uncollected.add(self._item_of(report.nodeid))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the tests of the part, after other options have selected tests. Raises UsageError."""
        names = {self._item_of(test.nodeid) for test in items} | self._uncollected
        part, error = _split(config, names) if names else (names, "")
        self._is_empty = bool(names) and not part
        if hasattr(config, "workeroutput"):
            config.workeroutput[_WORKER_OUTPUT] = self._is_empty, error
        elif error:
            raise pytest.UsageError(error)
        others = [test for test in items if self._item_of(test.nodeid) not in part]
        items[:] = [test for test in items if self._item_of(test.nodeid) in part]
        config.hook.pytest_deselected(items=others)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Learn from a worker whether the part is empty, or why it is unknown. Raises UsageError."""
        self._is_empty, error = getattr(node, "workeroutput", {}).get(_WORKER_OUTPUT, (self._is_empty, ""))
        if error:
            raise pytest.UsageError(error)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Let an empty part pass, before the recorder notes the exit code."""
        if self._is_empty and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK
        yield


def _split(config: pytest.Config, items: set[str]) -> tuple[set[str], str]:
    """Return the items of the part, or none and the reason, so that no wrong part is executed."""
    found = config.option
    index, _, total = found.zof_split.removeprefix("auto").partition("/")
    stated = {"index": index, "total": total, "key": found.zof_split_key, "project": found.zof_split_project}
    options = [f"--{name}={value}" for name, value in stated.items() if value]
    try:
        client = json.loads(os.environ.get("RESULTS_CLIENT", '["zof-results"]'))
        process = subprocess.run(
            [*client, "split", "--expect-results", f"--unit={found.zof_split_unit}", *options], cwd=config.rootpath,
            input="\n".join(sorted(items)), capture_output=True, encoding="utf-8", timeout=_SPLIT_TIMEOUT_S,
            check=False,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return set(), f"--zof-split: {error}. Install zof-results, or start pytest with `zof-results run`."
    part = set(filter(None, process.stdout.split("\n")))
    if process.returncode or not part <= items:
        reason = process.stderr.strip() or f"unknown items {sorted(part - items)[:5]}"
        return set(), f"--zof-split: exit code {process.returncode} of the client: {reason}"
    if getattr(config, "workerinput", {"workerid": "gw0"})["workerid"] == "gw0":
        sys.stderr.write(process.stderr)
    return part, ""
