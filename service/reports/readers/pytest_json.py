"""Streaming reader of pytest-json-report (`pytest --json-report`)."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, cast

from service.contracts.run_events import MAX_LINE, AttemptIn, ResultIn
from service.domain.statuses import FAILING, ResultStatus, read_status, states_failure
from service.reports.chunks import in_lists
from service.reports.errors import malformed
from service.reports.failures import join_failures
from service.reports.json_stream import JsonStream
from service.reports.json_values import count_of, object_of, text_of
from service.reports.metadata import ReportMetadata
from service.reports.output import set_output
from service.reports.readers.pytest_json_names import NamesOfTests
from service.reports.readers.pytest_json_stages import (
    add_properties,
    duration_of,
    failure_of,
    outputs_of,
    stages_of,
)  # fmt: skip
from service.reports.times import epoch_ms, valid_milliseconds

# The outcomes that only pytest and its plugins have. pytest-rerunfailures writes `rerun` if the last attempt passed.
_STATUS_OF: Final[dict[str, ResultStatus]] = {
    "xfailed": "skipped",
    "xpassed": "passed",
    "rerun": "passed",
    "subtests passed": "passed",
    "subtests skipped": "skipped",
    "subtests failed": "failed",
}
_RUN_FIELDS: Final = frozenset({"created", "duration", "exitcode", "summary"})
_WITHOUT_FAILURE: Final = (0, 5)  # the exit codes of passed tests, and of no tests
_COUNT_OF: Final = {"failed": "failures", "error": "errors", "skipped": "skipped"}
_DECLARED: Final = {"total": "tests", "failed": "failures", "error": "errors"}
_NO_TESTS: Final = "tests: must be a list. Write the report without --json-report-summary"
_NO_FAILURE: Final = "The report states the outcome {outcome}, but no failure."
_HIDDEN_SUBTESTS: Final = (
    "subtests: {count} tests state only the outcome of their last subtest, so that failures of other subtests can be "
    "missing. Send the JUnit XML of pytest instead"
)


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't valid JSON."""
    yield from in_lists(_results(JsonStream(source), metadata))
    metadata.add_notes()


def _results(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    run: dict[str, Any] = {}
    names = NamesOfTests(metadata.checkout)
    found, hidden = False, 0
    for key in stream.members():
        if key == "tests" and stream.peek() == "[":
            found = True
            for test in stream.items():
                yield _test(test, names, metadata)
                hidden += _hides_subtests(test)
        elif key == "collectors" and stream.peek() == "[":
            for collector in stream.items():
                yield from _collector(collector, names, metadata)
        elif key in _RUN_FIELDS:
            run[key] = stream.value()
        else:
            stream.value()
    if not found:
        raise malformed(_NO_TESTS)
    stream.expect_end()
    _add_run(run, metadata)
    if hidden and (metadata.declares_failures or run.get("exitcode") not in _WITHOUT_FAILURE):
        metadata.is_damaged = True
        metadata.notes.append(_HIDDEN_SUBTESTS.format(count=hidden))


def _test(test: Any, names: NamesOfTests, metadata: ReportMetadata) -> ResultIn:
    """Return the result of a test. The setup, the call, and the teardown are one attempt."""
    if not isinstance(test, dict):
        raise malformed("tests: must be a list of objects")
    result = names.result_of(text_of(test, "nodeid"))
    line = test.get("lineno")
    if isinstance(line, int) and 0 <= line < MAX_LINE and line is not True and line is not False:
        result["line"] = line + 1
    stages = stages_of(test)
    outcome = test.get("outcome")
    result["status"] = _status_of(outcome, stages)
    if (duration_ms := duration_of(stages, metadata.unreadable)) is not None:
        result["duration_ms"] = duration_ms
    if result["status"] != "passed":
        _add_texts(result, outcome, stages, metadata)
    if outcome == "rerun":
        _add_rerun(result, metadata)
    if test.get("user_properties") or test.get("metadata"):
        metadata.dropped_properties += add_properties(result, test)
    metadata.counted["tests"] += 1
    return result


def _hides_subtests(test: Mapping[str, Any]) -> bool:
    """Return whether the outcome is that of the last subtest that didn't fail, so that a failed one can be missing.

    The outcome of a subtest replaces that of its test. If the last subtest was skipped, pytest-subtests writes the
    outcome `skipped` or `xfailed`, although no stage of the test has it.
    """
    outcome = test.get("outcome")
    if outcome in ("skipped", "xfailed"):
        outcomes = [stage.get("outcome") for stage in stages_of(test).values()]
        return bool(outcomes) and "skipped" not in outcomes and outcome not in outcomes
    return outcome in ("subtests passed", "subtests skipped")


def _add_texts(result: ResultIn, outcome: object, stages: Mapping[str, Any], metadata: ReportMetadata) -> None:
    """Add the failures of all stages and their output, and count the result."""
    status = result["status"]
    failures = [failure for stage in stages.values() if (failure := failure_of(stage, outcome))]
    if failures:
        result["failure"] = join_failures(failures)
    elif status in FAILING:
        result["failure"] = {"message": _NO_FAILURE.format(outcome=status)}
    set_output(result, metadata.output.add(f"{result['suite']} {result['name']}", outputs_of(stages)))
    for counted, name in _COUNT_OF.items():
        metadata.counted[name] += status == counted
    metadata.contains_failures |= states_failure(status)


def _collector(collector: Any, names: NamesOfTests, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield a result for a file, class, or folder that couldn't be collected, as in the JUnit XML of pytest."""
    if not isinstance(collector, dict):
        raise malformed("collectors: must be a list of objects")
    outcome = collector.get("outcome")
    status = read_status(outcome) or cast("ResultStatus", outcome)
    if status == "passed":
        return
    result = names.result_of(text_of(collector, "nodeid"))
    # pytest calls it an error if the collection of a file fails.
    result["status"] = "error" if status == "failed" else status
    if failure := failure_of(collector, outcome):
        result["failure"] = failure
    metadata.contains_failures |= states_failure(status)
    yield result


def _status_of(outcome: Any, stages: Mapping[str, Mapping[str, Any]]) -> ResultStatus:
    """Return the status. An unknown outcome is returned unchanged: ingest stores it as an error.

    A stage that failed counts, although the outcome of the test states otherwise.
    """
    stated = _STATUS_OF.get(outcome) if isinstance(outcome, str) else None
    status = stated or read_status(outcome) or cast("ResultStatus", outcome)
    if status != "passed":
        return status
    for name, stage in stages.items():
        written = stage.get("outcome", "passed")
        # The last attempt has the outcome `rerun` if the run was interrupted before the next one.
        if written != "passed" and (written == "rerun" or states_failure(written)):
            return "failed" if name == "call" else "error"
    return status


def _add_rerun(result: ResultIn, metadata: ReportMetadata) -> None:
    """Add the last attempt before the reruns: the report states neither the number of attempts nor their texts."""
    last: AttemptIn = {"status": result["status"]}
    if "duration_ms" in result:
        last["duration_ms"] = result["duration_ms"]
    if "failure" in result:
        last["failure"] = result["failure"]
    result["attempts"] = [{"status": "failed"}, last]
    metadata.contains_failures = True


def _add_run(run: Mapping[str, Any], metadata: ReportMetadata) -> None:
    """Add the times, the declared counts, and the exit code, which states whether a test or pytest failed."""
    created, duration = run.get("created"), run.get("duration")
    completed_at = epoch_ms(created)
    metadata.times.set_end(completed_at)
    if completed_at and created is not None and duration is not None and valid_milliseconds(duration) is not None:
        metadata.times.add(epoch_ms(created - duration))
    summary = object_of(run, "summary")
    for name, count_name in _DECLARED.items():
        if (count := count_of(summary, name)) is not None:
            metadata.declare(count_name, count)
    skipped = [count for name in ("skipped", "xfailed") if (count := count_of(summary, name)) is not None]
    if skipped:
        metadata.declare("skipped", sum(skipped))
    exit_code = run.get("exitcode")
    if isinstance(exit_code, int) and exit_code not in _WITHOUT_FAILURE:
        metadata.declares_failures = True
        if not metadata.contains_failures:
            metadata.notes.append(f"exitcode: pytest ended with {exit_code}, but the report contains no failure")
