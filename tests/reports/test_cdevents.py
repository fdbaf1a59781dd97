"""Conversion of CDEvents to the data of the native event."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from service.ingest.cdevents import run_data
from service.ingest.contract import RunData
from service.reports.conversion.errors import ReportError

RUN_DATA = TypeAdapter(RunData)
CUSTOM = {"organization": "acme", "project_id": "shop"}


def cdevent(kind: str = "testcaserun", version: str = "0.2.0", **content: Any) -> dict[str, Any]:
    return {
        "context": {
            "version": "0.4.1",
            "id": "271069a8-fc18-44f1-b38f-9d70a1695819",
            "source": "/staging/testkube",
            "type": f"dev.cdevents.{kind}.finished.{version}",
            "timestamp": "2026-05-20T12:00:00.315384Z",
        },
        "subject": {
            "id": "login-execution-7",
            "source": "/staging/testkube",
            "type": "testCaseRun",
            "content": {"environment": {"id": "staging"}, **content},
        },
        "customData": CUSTOM,
    }


def test_case_run_becomes_a_run_with_one_result() -> None:
    data = run_data(cdevent(outcome="fail", reason="Timed out", testCase={"id": "92834723894", "name": "Login Test"}))

    assert RUN_DATA.validate_python(data)
    assert data == {
        "organization": "acme",
        "run": {
            "run_id": "login-execution-7",
            "project_id": "shop",
            "environment": "staging",
            "completed_at": "2026-05-20T12:00:00.315384Z",
        },
        "results": [
            {
                "case_id": "92834723894",
                "name": "Login Test",
                "status": "failed",
                "failure": {"message": "Timed out"},
            }
        ],
    }


def test_suite_run_gives_its_run_a_status() -> None:
    data = run_data(cdevent("testsuiterun", outcome="failure", testSuite={"id": "1", "name": "Auth"}))

    assert RUN_DATA.validate_python(data)
    assert data["run"]["status"] == "failed"
    assert data["run"]["run_id"] == "login-execution-7"
    assert data["results"] == []


def test_case_of_a_suite_run_is_shard_1_of_2() -> None:
    case = run_data(cdevent(outcome="pass", testSuiteRun={"id": "auth-7"}))

    assert RUN_DATA.validate_python(case)
    assert (case["run"]["run_id"], case["run"]["shard"], case["run"]["final"]) == ("auth-7", 1, False)


@pytest.mark.parametrize(
    ("version", "outcome", "status"),
    [
        ("0.2.0", "pass", "passed"),
        ("0.2.0", "fail", "failed"),
        ("0.2.0", "cancel", "canceled"),
        ("0.2.0", "error", "error"),
        ("0.3.0", "success", "passed"),
        ("0.3.0", "failure", "failed"),
        ("0.3.0-draft", "cancel", "canceled"),
        ("0.3.0", "error", "error"),
    ],
)
def test_outcomes_of_all_versions_are_converted(version: str, outcome: str, status: str) -> None:
    case = run_data(cdevent("testcaserun", version, outcome=outcome))
    suite = run_data(cdevent("testsuiterun", version, outcome=outcome))

    assert case["results"][0]["status"] == status
    assert suite["run"]["status"] == status


@pytest.mark.parametrize(("content", "status"), [({"outcome": "maybe"}, "maybe"), ({"outcome": []}, ""), ({}, "")])
def test_unknown_outcome_is_the_status_that_ingest_stores_as_an_error(content: dict[str, Any], status: str) -> None:
    case = run_data(cdevent("testcaserun", **content))
    suite = run_data(cdevent("testsuiterun", **content))

    assert case["results"][0]["status"] == content.get("outcome")
    assert suite["run"]["status"] == status


def test_case_without_a_definition_is_named_after_its_run() -> None:
    assert run_data(cdevent(outcome="pass"))["results"] == [{"name": "login-execution-7", "status": "passed"}]


def test_source_is_the_default_project() -> None:
    event = cdevent(outcome="pass")
    del event["customData"]

    data = run_data(event)

    assert data["run"]["project_id"] == "/staging/testkube"
    assert "organization" not in data


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({**cdevent(outcome="pass"), "subject": {"id": "1"}}, "malformed_report"),
        ({"context": []}, "malformed_report"),
        (cdevent("pipelinerun", outcome="success"), "unsupported_format"),
    ],
)
def test_invalid_cdevents_are_rejected(event: dict[str, Any], reason: str) -> None:
    with pytest.raises(ReportError) as error:
        run_data(event)

    assert error.value.reason == reason
