"""Conversion of CDEvents of finished test runs, versions 0.1 to 0.3, to the data of the native event.

A CDEvent has no organization and no project: both are in its `customData`, and the project defaults to its source.
The cases of a suite run arrive in separate events. They are shard 1 of their run, and the event of the suite run
completes the run.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from service.domain.statuses import read_status
from service.reports.conversion.errors import ReportError, malformed

_TYPE: Final = re.compile(r"dev\.cdevents\.(testsuiterun|testcaserun)\.finished\.\d+\.\d+\.\d+(?:-\w+)?")


def run_data(cdevent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the unvalidated native `data` of a CDEvent.

    Fields that the CDEvent omits are missing. The status of a suite run without outcome is empty, because the results
    must not decide it. Raises ReportError.
    """
    context, subject = _object(cdevent, "context"), _object(cdevent, "subject")
    context_type = context.get("type")
    event_type = _TYPE.fullmatch(context_type) if isinstance(context_type, str) else None
    if event_type is None:
        raise ReportError(
            "unsupported_format", f"context.type: must be a finished test run, but is {_quote(context_type)}"
        )
    content = _object(subject, "content")
    if event_type[1] == "testsuiterun":
        return _suite_run(cdevent, context, subject, content)
    return _case_run(cdevent, context, subject, content)


def _suite_run(
    cdevent: Mapping[str, Any], context: Mapping[str, Any], subject: Mapping[str, Any], content: Mapping[str, Any]
) -> dict[str, Any]:
    run = _run(cdevent, context, subject, content) | {
        "run_id": subject.get("id"),
        "status": _status_of(content) or "",
        "final": True,
    }
    return _data(cdevent, run, [])


def _case_run(
    cdevent: Mapping[str, Any], context: Mapping[str, Any], subject: Mapping[str, Any], content: Mapping[str, Any]
) -> dict[str, Any]:
    run = _run(cdevent, context, subject, content)
    suite_run = content.get("testSuiteRun")
    if isinstance(suite_run, Mapping):
        run |= {"run_id": suite_run.get("id"), "shard": 1, "final": False}
    else:
        run["run_id"] = subject.get("id")
    return _data(cdevent, run, [_result(subject, content)])


def _result(subject: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    case = _object(content, "testCase", required=False)
    result: dict[str, Any] = {
        "name": case.get("name") or case.get("id") or subject.get("id"),
        "status": _status_of(content),
    }
    if case.get("id"):
        result["case_id"] = case["id"]
    if content.get("reason") and result["status"] != "passed":
        result["failure"] = {"message": content["reason"]}
    return result


def _run(
    cdevent: Mapping[str, Any], context: Mapping[str, Any], subject: Mapping[str, Any], content: Mapping[str, Any]
) -> dict[str, Any]:
    run: dict[str, Any] = {
        "project_id": _custom(cdevent).get("project_id") or subject.get("source") or context.get("source"),
        "completed_at": context.get("timestamp"),
    }
    environment = _object(content, "environment", required=False).get("id")
    if environment:
        run["environment"] = environment
    return run


def _data(cdevent: Mapping[str, Any], run: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {"run": run, "results": results}
    if organization := _custom(cdevent).get("organization"):
        data["organization"] = organization
    return data


def _custom(cdevent: Mapping[str, Any]) -> Mapping[str, Any]:
    return _object(cdevent, "customData", required=False)


def _status_of(content: Mapping[str, Any]) -> Any:
    """Return the status, or an unknown outcome itself, which ingest stores as an error."""
    outcome = content.get("outcome")
    return read_status(outcome) or outcome


def _quote(value: Any) -> str:
    """Return the start of a string, or the kind of another value, for a message."""
    return repr(value[:100]) if isinstance(value, str) else f"of type {type(value).__name__}"


def _object(parent: Mapping[str, Any], key: str, *, required: bool = True) -> Mapping[str, Any]:
    value = parent.get(key)
    if isinstance(value, Mapping):
        return value
    if required:
        raise malformed(f"{key}: must be an object")
    return {}
