"""The failures of the demo history: which cases fail in which of its runs, and with which texts.

The texts have the form of real failures of pytest. None of them was observed, except that of the sample report.
"""

from collections.abc import Collection
from string import Template
from typing import Final, Literal, NamedTuple

from service.ingest.contract import Failure

MAIN_RUNS: Final = 30
FIRST_PULL_REQUEST_RUN: Final = MAIN_RUNS + 1
PULL_REQUEST_RUN: Final = MAIN_RUNS + 2
INCOMPLETE_RUN: Final = MAIN_RUNS + 3
PYTHONS: Final = ("3.11", "3.13")

_ALL: Final = frozenset(range(1, INCOMPLETE_RUN + 1))


class FailureText(NamedTuple):
    """The texts of a failure as templates. `$number`, `$port`, and `$run` differ between results.

    In `details`, `$error` is replaced by the type and the message, as pytest shows them.
    """

    type: str
    message: str
    details: str

    def fill(self, **values: object) -> Failure:
        """Return the failure with these values."""
        message = Template(self.message).substitute(values)
        error = "\n".join(f"E       {line}".rstrip() for line in f"{self.type}: {message}".split("\n"))
        details = Template(self.details).substitute(values, error=error)
        return {"type": self.type, "message": message, "details": details}


class Incident(NamedTuple):
    """Cases that don't pass in some runs. The suite of a case contains `suite`, and its name starts with `name`.

    A flaky case fails in its first attempt and passes in the second one. If `text` is None, the failure is that of the
    sample report.
    """

    suite: str
    name: str
    runs: Collection[int]
    text: FailureText | None
    status: Literal["failed", "error"] = "failed"
    pythons: Collection[str] = PYTHONS
    flaky: bool = False

    def affects(self, suite: str, name: str, python: str, run: int) -> bool:
        """Return whether the case doesn't pass in this run."""
        is_affected = run in self.runs and python in self.pythons
        return is_affected and self.suite in suite and name.startswith(self.name)


_CONNECTION_REFUSED: Final = FailureText(
    "ConnectionRefusedError",
    "[Errno 111] Connect call failed ('127.0.0.1', $port)",
    """\
@pytest.fixture(scope="session")
async def pool(postgres_url: str) -> AsyncIterator[asyncpg.Pool]:
>   pool = await asyncpg.create_pool(postgres_url, min_size=1, timeout=5)

tests/conftest.py:61:
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _
.venv/lib/python3.13/site-packages/asyncpg/pool.py:439: in _async__init__
    await self._initialize()
.venv/lib/python3.13/site-packages/asyncpg/pool.py:466: in _initialize
    await first_ch.connect()
/usr/lib/python3.13/asyncio/selector_events.py:691: in _sock_connect_cb
    raise OSError(err, f'Connect call failed {address}')
$error""",
)
_DISK_FULL: Final = FailureText(
    "OSError",
    "[Errno 28] No space left on device: '/tmp/pytest-of-runner/pytest-$run/report-$number.xml'",
    """\
tests/reports/conftest.py:44: in stored_report
    path.write_bytes(content)
/usr/lib/python3.11/pathlib.py:1066: in write_bytes
    return f.write(view)
$error""",
)
_COUNTS_DIFFER: Final = FailureText(
    "AssertionError",
    """\
the counts of the report differ from its manifest
assert {'failed': 2, 'passed': 11, 'skipped': 1} == {'failed': 1, 'passed': 12, 'skipped': 1}

  Omitting 1 identical items, use -vv to show
  Differing items:
  {'failed': 2} != {'failed': 1}
  {'passed': 11} != {'passed': 12}""",
    """\
def test_counts_equal_those_of_the_manifest(report: Path) -> None:
    manifest = read_manifest(report)
    counts = Counter(result["status"] for result in read_results(report))
>   assert dict(counts) == manifest.counts, "the counts of the report differ from its manifest"
$error

tests/reports/test_manifests.py:58: AssertionError""",
)
_LOG_LINES_MISSING: Final = FailureText(
    "AssertionError",
    """\
the error doesn't contain the last log lines of the component
assert 'address already in use' in "server didn't start, see /tmp/pytest-of-runner/pytest-$run/server.log:\\n"
 +  where "server didn't start, see /tmp/pytest-of-runner/pytest-$run/server.log:\\n" = str(ComponentError(...))""",
    """\
def test_failed_start_reports_the_last_log_lines(tmp_path: Path) -> None:
    component = prepared(tmp_path, "print('address already in use'); raise SystemExit(1)")
    with pytest.raises(ComponentError) as error:
        component.start(timeout_s=1)
>   assert "address already in use" in str(error.value), "the error doesn't contain the last log lines of the component"
$error

tests/dev/test_supervisor.py:97: AssertionError""",
)
_SLOW_BACKOFF: Final = FailureText(
    "AssertionError",
    """\
the component wasn't restarted often enough
assert 2 >= 3
 +  where 2 = len([0.1$number, 0.4$number])""",
    """\
def test_repeated_exits_are_restarted_with_backoff(supervisor: Supervisor) -> None:
    pauses = observe_restarts(supervisor, seconds=0.8)
>   assert len(pauses) >= 3, "the component wasn't restarted often enough"
$error

tests/dev/test_supervisor.py:52: AssertionError""",
)
_DEADLINE: Final = FailureText(
    "hypothesis.errors.DeadlineExceeded",
    "Test took $number.31ms, which exceeds the deadline of 200.00ms.",
    """\
tests/reports/test_attachments.py:31: in test_markers_are_found_across_chunk_boundaries
    @given(chunks=lists(binary(max_size=64)), marker=sampled_from(MARKERS))
.venv/lib/python3.11/site-packages/hypothesis/core.py:1024: in test
    raise DeadlineExceeded(datetime.timedelta(seconds=runtime), self.settings.deadline)
$error""",
)
_WRONG_FORMAT: Final = FailureText(
    "service.domain.errors.UnsupportedMediaType",
    "Content-Type 'application/xml-junit' isn't supported. Use application/xml or application/json.",
    """\
tests/reports/test_formats.py:39: in test_content_type_selects_the_format
    assert select_format(content_type, b"") == expected
service/reports/conversion/convert.py:71: in select_format
    raise UnsupportedMediaType(f"Content-Type {content_type!r} isn't supported. {_SUPPORTED}")
$error""",
)
_ORPHAN_RUNS: Final = FailureText(
    "AssertionError",
    """\
the orphaned process $number is still running
assert not True
 +  where True = is_running($number)""",
    """\
def test_child_that_outlived_its_parent_is_stopped_by_the_next_start(tmp_path: Path) -> None:
    child = start_orphan(tmp_path)
    Process("sleeper", tmp_path).stop_orphan()
>   assert not is_running(child), f"the orphaned process {child} is still running"
$error

tests/dev/test_processes.py:88: AssertionError""",
)
_KILL_TIMEOUT: Final = FailureText(
    "TimeoutError",
    "the process $number didn't exit within 5.0 s after SIGKILL",
    """\
tests/dev/test_processes.py:133: in test_process_that_ignores_its_stop_signal_is_killed
    process.stop()
service/dev/processes.py:104: in stop
    self._await_exit(self.stop_timeout_s)
service/dev/processes.py:118: in _await_exit
    raise TimeoutError(f"the process {self.pid} didn't exit within {timeout_s} s after SIGKILL")
$error""",
)
_INVALID_TIME: Final = FailureText(
    "ValueError",
    """\
time data '2026-05-20 12:00:00' does not match the format '%Y-%m-%dT%H:%M:%S%z'

The above exception was the direct cause of the following exception:

service.reports.conversion.errors.ReportError: the timestamp of test suite $number can't be parsed""",
    """\
tests/reports/test_times.py:22: in test_timestamps_of_every_format_are_parsed
    assert parse_time(text) == expected
service/reports/conversion/times.py:47: in parse_time
    return datetime.strptime(text, _FORMAT)
/usr/lib/python3.13/_strptime.py:578: in _strptime_datetime
    tt, fraction, gmtoff_fraction = _strptime(data_string, format)
$error""",
)
_WRONG_UNIT: Final = FailureText(
    "AssertionError",
    "assert 0.25 == 250",
    """\
@pytest.mark.parametrize(("text", "milliseconds"), [("0.25", 250), ("1", 1000), ("1,5", 1500)])
def test_seconds_become_milliseconds(text: str, milliseconds: int) -> None:
>   assert parse_seconds(text) == milliseconds
$error

tests/reports/test_times.py:71: AssertionError""",
)

QUARANTINED_CASE: Final = "test_child_that_outlived_its_parent_is_stopped_by_the_next_start"
NEW_FAILURE: Final = "test_failed_start_reports_the_last_log_lines"

# The first incident that affects a case determines its result.
INCIDENTS: Final = (
    Incident("tests.dev.test_", "", {9}, _CONNECTION_REFUSED, status="error", pythons={"3.13"}),
    Incident("tests.reports.test_manifests", "test_suite_level", {17}, _DISK_FULL, status="error", pythons={"3.11"}),
    Incident("test_ports", "test_port_in_use_is_not_chosen", range(24, INCOMPLETE_RUN + 1), None, pythons={"3.13"}),
    Incident(
        "test_manifests", "test_counts_equal_those_of_the_manifest[g", range(26, PULL_REQUEST_RUN), _COUNTS_DIFFER
    ),
    Incident(
        "test_manifests", "test_counts_equal_those_of_the_manifest[p", range(27, INCOMPLETE_RUN + 1), _COUNTS_DIFFER
    ),
    Incident("test_supervisor", NEW_FAILURE, {MAIN_RUNS}, _LOG_LINES_MISSING),
    Incident("test_supervisor", "test_repeated_exits", {13, 22, 28, MAIN_RUNS}, _SLOW_BACKOFF, pythons={"3.11"}),
    Incident(
        "test_supervisor",
        "test_repeated_exits",
        _ALL - set(range(1, INCOMPLETE_RUN, 4)),
        _SLOW_BACKOFF,
        pythons={"3.13"},
        flaky=True,
    ),
    Incident("test_attachments", "test_markers", set(range(4, 33, 5)), _DEADLINE, pythons={"3.11"}, flaky=True),
    Incident(
        "test_formats", "test_content_type_selects_the_format[application/xml-", range(26, MAIN_RUNS), _WRONG_FORMAT
    ),
    Incident(
        "test_processes", QUARANTINED_CASE, {12, 15, 16, 19, 21, 23, 25, 27, 28, 30, PULL_REQUEST_RUN}, _ORPHAN_RUNS
    ),
    Incident(
        "test_processes",
        "test_process_that_ignores",
        {7, PULL_REQUEST_RUN},
        _KILL_TIMEOUT,
        status="error",
        pythons={"3.11"},
    ),
    Incident(
        "test_times",
        "test_timestamps_of_every_format_are_parsed[2026-05-20 12",
        {FIRST_PULL_REQUEST_RUN, PULL_REQUEST_RUN},
        _INVALID_TIME,
    ),
    Incident(
        "test_times",
        "test_seconds_become_milliseconds[0.25",
        range(25, PULL_REQUEST_RUN),
        _WRONG_UNIT,
        pythons={"3.11"},
    ),
)
