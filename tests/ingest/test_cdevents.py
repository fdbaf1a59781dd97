"""Ingest of CDEvents of finished test runs."""

from typing import Any

import pytest

from tests.reports.test_cdevents import cdevent
from tests.stored import Store


def cloud_event(data: Any, event_id: str) -> Any:
    return {
        "specversion": "1.0", "id": event_id, "source": "/staging/testkube", "type": data["context"]["type"],
        "time": "2026-05-20T12:00:01Z", "data": data,
    }  # fmt: skip


@pytest.mark.parametrize("version", ["0.2.0", "0.3.0"])
async def test_finished_case_run_is_stored(store: Store, version: str) -> None:
    failure = "failure" if version == "0.3.0" else "fail"
    data = cdevent(version=version, outcome=failure, reason="Timed out", testCase={"id": "92834", "name": "Login"})
    [outcome] = await store.ingest(cloud_event(data, "evt_1"))

    assert outcome.status == "stored"
    assert await store.results("login-execution-7") == [("Login", "failed", None, 1, False)]
    run = await store.run("login-execution-7")
    assert run is not None
    assert (run["project_id"], run["environment"], run["complete"]) == ("shop", "staging", True)


async def test_finished_suite_run_completes_the_run_of_its_cases(store: Store) -> None:
    case = cdevent(outcome="pass", testCase={"id": "1", "name": "Login"}, testSuiteRun={"id": "suite_7"})
    suite = cdevent("testsuiterun", outcome="pass")
    suite["subject"]["id"] = "suite_7"
    await store.ingest(cloud_event(case, "evt_1"))
    before = await store.run("suite_7")
    await store.ingest(cloud_event(suite, "evt_2"))
    after = await store.run("suite_7")

    assert before is not None
    assert after is not None
    assert (before["complete"], after["complete"], after["passed"]) == (False, True, 1)


async def test_other_cdevent_is_rejected_with_a_reason(store: Store) -> None:
    data = cdevent(outcome="pass")
    data["context"]["type"] = "dev.cdevents.build.finished.0.1.0"
    [outcome] = await store.ingest(cloud_event(data, "evt_1"))

    assert (outcome.status, outcome.reason) == ("rejected", "invalid")
    assert "dev.cdevents.build.finished" in (outcome.message or "")
