"""Streaming reader of pytest-json-report (`pytest --json-report`)."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, cast

from service.domain.statuses import FAILING, ResultStatus, states_failure
from service.domain.timestamps import MAX_DURATION_MS
from service.ingest.contract import MAX_LINE, Failure, ResultIn
from service.reports.conversion.attempts import attempts_of, join_failures, status_of_word
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata, UnreadableDurations, mark_outside
from service.reports.conversion.names import SUITE_LEVEL_NAME, Checkout, portable_path, suite_label
from service.reports.conversion.output import BoundedText, set_output
from service.reports.conversion.times import epoch_ms, valid_milliseconds
from service.reports.streams.chunks import in_lists
from service.reports.streams.json import JsonStream
from service.reports.streams.json_values import count_of, declare_counts, object_of, objects_of, text_of, written_text

_ROOT_SUITE: Final = "pytest"
_SUFFIX: Final = re.compile(r"\.py$")
_MAX_S: Final = MAX_DURATION_MS / 1000
_STAGES: Final = ("setup", "call", "teardown")
# pytest-xdist writes the worker above each text.
_WORKER: Final = re.compile(r"\[gw\d+\] [^\n]*\n*")
_SKIPPED: Final = re.compile(r"\(.*, \d+, (['\"])Skipped: .*\1\)", re.DOTALL)
_MAX_SKIPPED: Final = 20_000  # characters of the text of a skip
_CLASS: Final = re.compile(r"[\w.]+")
_TYPE_OF: Final = {"skipped": "pytest.skip", "xfailed": "pytest.xfail"}
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
_DECLARED: Final = {"total": "tests", "failed": "failures", "error": "errors"}
_NO_TESTS: Final = "tests: must be a list. Write the report without --json-report-summary"
_NO_FAILURE: Final = "The report states the outcome {outcome}, but no failure."
_HIDDEN_SUBTESTS: Final = (
    "subtests: {count} tests state only the outcome of their last subtest, so that failures of other subtests can be "
    "missing. Send the JUnit XML of pytest instead"
)


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't valid JSON."""
    return in_lists(_results(JsonStream(source), metadata))


def _results(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    run: dict[str, Any] = {}
    names = _NamesOfTests(metadata.checkout)
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


class _NamesOfTests:
    """Returns results with the names of tests. Most tests follow one of the same class, whose names are kept."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._owner: str | None = None
        self._suite = self._file = ""

    def result_of(self, node_id: str | None) -> ResultIn:
        """Return a result with suite, name, and file.

        `tests/test_cart.py::TestCart::test_adds[a::b]` is `test_adds[a::b]` in `pytest > tests.test_cart.TestCart`.
        """
        if node_id is None:  # ingest rejects the result with its index
            return {"suite": _ROOT_SUITE, "name": cast("str", None), "status": "error"}
        address, bracket, parameters = node_id.partition("[")
        owner, separator, name = address.rpartition("::")
        if not separator:  # a file or a folder
            owner, name = name, _module_of(name)
        if owner != self._owner:
            path, *classes = owner.split("::")
            parents = [_module_of(path), *classes] if separator else ()
            self._suite = suite_label((_ROOT_SUITE,), ".".join(parents))
            self._file = self._checkout.file_of(path)
            self._owner = owner if separator else None
        name = f"{name}{bracket}{parameters}" if bracket else name
        result: ResultIn = {"suite": self._suite, "name": name or SUITE_LEVEL_NAME, "status": "passed"}
        if self._file:
            result["file"] = self._file
        return result


def _module_of(path: str) -> str:
    return _SUFFIX.sub("", portable_path(path).replace("/", "."))


def _test(test: Any, names: _NamesOfTests, metadata: ReportMetadata) -> ResultIn:
    """Return the result of a test. The setup, the call, and the teardown are one attempt."""
    if not isinstance(test, dict):
        raise malformed("tests: must be a list of objects")
    result = names.result_of(text_of(test, "nodeid"))
    line = test.get("lineno")
    if isinstance(line, int) and 0 <= line < MAX_LINE and line is not True and line is not False:
        result["line"] = line + 1
    stages = _stages_of(test)
    outcome = test.get("outcome")
    result["status"] = _status_of(outcome, stages)
    if (duration_ms := _duration_of(stages, metadata.unreadable)) is not None:
        result["duration_ms"] = duration_ms
    if result["status"] != "passed":
        _add_texts(result, outcome, stages, metadata)
    if outcome == "rerun":
        _add_rerun(result, metadata)
    if test.get("user_properties") or test.get("metadata"):
        pairs = [*objects_of(test, "user_properties"), object_of(test, "metadata")]
        values = ((name, value) for pair in pairs for name, value in pair.items() if value is not None)
        metadata.add_properties(result, ((name, written_text(value)) for name, value in values))
    metadata.count(result["status"])
    return result


def _stages_of(test: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the stages that the test has executed, in their order."""
    return {name: stage for name in _STAGES if (stage := object_of(test, name))}


def _status_of(outcome: Any, stages: Mapping[str, Mapping[str, Any]]) -> ResultStatus:
    """Return the status. An unknown outcome is returned unchanged: ingest stores it as an error.

    A stage that failed counts, although the outcome of the test states otherwise.
    """
    stated = _STATUS_OF.get(outcome) if isinstance(outcome, str) else None
    status = stated or status_of_word(outcome)
    if status != "passed":
        return status
    for name, stage in stages.items():
        written = stage.get("outcome", "passed")
        # The last attempt has the outcome `rerun` if the run was interrupted before the next one.
        if written != "passed" and (written == "rerun" or states_failure(written)):
            return "failed" if name == "call" else "error"
    return status


def _duration_of(stages: Mapping[str, Mapping[str, Any]], unreadable: UnreadableDurations) -> float | None:
    """Return the sum of the durations in milliseconds. The report contains seconds."""
    total: float | None = None
    for stage in stages.values():
        written = stage.get("duration")
        if isinstance(written, float) and 0 <= written <= _MAX_S:
            total = (total or 0) + written
        elif valid_milliseconds(written) is not None:
            total = (total or 0) + float(written or 0)
        elif written is not None:
            unreadable.add(written)
    return None if total is None else valid_milliseconds(min(total * 1000, MAX_DURATION_MS))


def _add_texts(result: ResultIn, outcome: object, stages: Mapping[str, Any], metadata: ReportMetadata) -> None:
    """Add the failures of all stages and their output."""
    status = result["status"]
    failures = [failure for stage in stages.values() if (failure := _failure_of(stage, outcome))]
    if failures:
        result["failure"] = join_failures(failures)
    elif status in FAILING:
        result["failure"] = {"message": _NO_FAILURE.format(outcome=status)}
    set_output(result, metadata.output.add(f"{result['suite']} {result['name']}", _outputs_of(stages)))


def _failure_of(stage: Mapping[str, Any], outcome: object) -> Failure | None:
    """Return the failure of a stage, or the reason of its skip. None if it passed."""
    if stage.get("outcome") == "passed":
        return None
    text = _without_worker(text_of(stage, "longrepr") or "")
    if reason := _skip_reason(text):
        return {"type": _TYPE_OF["skipped"], "message": reason}
    failure: Failure = {}
    frames = objects_of(stage, "traceback")
    if isinstance(outcome, str) and outcome in _TYPE_OF:
        failure["type"] = _TYPE_OF[outcome]
    elif frames and _CLASS.fullmatch(kind := text_of(frames[-1], "message") or ""):
        failure["type"] = kind
    message = text_of(object_of(stage, "crash"), "message")
    if message:
        failure["message"] = message
    if text and text != message:
        failure["details" if message or "\n" in text else "message"] = text
    return failure or None


def _without_worker(text: str) -> str:
    """Return the text without the line of pytest-xdist that names the worker and its Python."""
    worker = _WORKER.match(text)
    return text[worker.end() :] if worker else text


def _skip_reason(text: str) -> str | None:
    """Return the reason in a text such as `('/ci/tests/test_cart.py', 38, 'Skipped: waits for SHOP-10')`."""
    if len(text) > _MAX_SKIPPED or not _SKIPPED.fullmatch(text):
        return None
    try:
        reason = ast.literal_eval(text)[2]
    except (ValueError, SyntaxError, MemoryError, RecursionError, IndexError, TypeError):
        return None
    return reason.removeprefix("Skipped: ") if isinstance(reason, str) else None


def _outputs_of(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, BoundedText]]:
    """Yield the captured output of all stages by the name of its artifact."""
    for name in ("stdout", "stderr"):
        if text := "".join(text_of(stage, name) or "" for stage in stages.values()):
            yield f"{name}.txt", BoundedText(text)
    lines = [_log_line(record) for stage in stages.values() for record in objects_of(stage, "log")]
    if lines:
        yield "log.txt", BoundedText("\n".join(lines))


def _log_line(record: Mapping[str, Any]) -> str:
    """Return a line in the default form of pytest: `WARNING  shop:cart.py:27 sold out`."""
    level, name, file = (text_of(record, key) or "" for key in ("levelname", "name", "filename"))
    return f"{level:<8} {name}:{file}:{record.get('lineno')} {text_of(record, 'msg') or ''}"


def _add_rerun(result: ResultIn, metadata: ReportMetadata) -> None:
    """Add the last attempt before the reruns: the report states neither the number of attempts nor their texts."""
    result["attempts"] = [{"status": "failed"}, *attempts_of(result)]
    metadata.contains_failures = True


def _hides_subtests(test: Mapping[str, Any]) -> bool:
    """Return whether a subtest that didn't fail states the outcome, so that a failed subtest can be missing.

    The outcome of the last subtest replaces the outcome of its test. If the last subtest was skipped, pytest-subtests
    writes the outcome `skipped` or `xfailed`, although no stage of the test has it.
    """
    outcome = test.get("outcome")
    if outcome in ("skipped", "xfailed"):
        outcomes = [stage.get("outcome") for stage in _stages_of(test).values()]
        return bool(outcomes) and "skipped" not in outcomes and outcome not in outcomes
    return outcome in ("subtests passed", "subtests skipped")


def _collector(collector: Any, names: _NamesOfTests, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield a result for a file, class, or folder that couldn't be collected, as in the JUnit XML of pytest."""
    if not isinstance(collector, dict):
        raise malformed("collectors: must be a list of objects")
    outcome = collector.get("outcome")
    status = status_of_word(outcome)
    if status == "passed":
        return
    result = names.result_of(text_of(collector, "nodeid"))
    # pytest calls it an error if the collection of a file fails.
    result["status"] = "error" if status == "failed" else status
    if failure := _failure_of(collector, outcome):
        result["failure"] = failure
    metadata.contains_failures |= states_failure(status)
    yield mark_outside(result, "collection")


def _add_run(run: Mapping[str, Any], metadata: ReportMetadata) -> None:
    """Add the times, the declared counts, and the exit code, which states whether a test or pytest failed."""
    created, duration = run.get("created"), run.get("duration")
    completed_at = epoch_ms(created)
    metadata.times.set_end(completed_at)
    if completed_at and created is not None and duration is not None and valid_milliseconds(duration) is not None:
        metadata.times.add(epoch_ms(created - duration))
    summary = object_of(run, "summary")
    declare_counts(metadata, summary, _DECLARED)
    skipped = [count for name in ("skipped", "xfailed") if (count := count_of(summary, name)) is not None]
    if skipped:
        metadata.declare("skipped", sum(skipped))
    exit_code = run.get("exitcode")
    if isinstance(exit_code, int) and exit_code not in _WITHOUT_FAILURE:
        metadata.declares_failures = True
        if not metadata.contains_failures:
            metadata.notes.append(f"exitcode: pytest ended with {exit_code}, but the report contains no failure")
