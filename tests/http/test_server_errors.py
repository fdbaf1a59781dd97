"""Tests of errors of the database server: 503 with Retry-After, and 500 only for a defect of the service."""

from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse
from structlog.testing import capture_logs

from tests.served import Api

STATES = ["40001", "40P01", "55P03", "25006", "42501", "42P01", "22023", "58030", "XX001", "55000", "25P04"]


UNSUPPORTED = "0A000"


async def execute(database_url: str, *statements: str) -> None:
    owner = await asyncpg.connect(database_url)
    for statement in statements:
        await owner.execute(statement)
    await owner.close()


async def insert_webhook(api: Api, database_url: str, state: str) -> ClientResponse:
    """Send a request whose INSERT fails with this SQLSTATE code."""
    await execute(
        database_url,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$",
        "CREATE TRIGGER fail BEFORE INSERT ON webhooks EXECUTE FUNCTION fail()",
    )
    return await api.send("POST", "/v1/webhooks", json={"url": "https://example.com/hook"})


async def test_statement_that_the_server_does_not_support_is_a_logged_internal_error(
    api: Api, database_url: str
) -> None:
    with capture_logs() as logs:
        response = await insert_webhook(api, database_url, UNSUPPORTED)
    assert (response.status, (await response.json())["error"]["code"]) == (500, "internal_error")
    assert [log["log_level"] for log in logs if log["event"] == "request_failed"] == ["error"]


@pytest.mark.parametrize("state", STATES)
async def test_error_of_the_server_during_a_mutation_is_503(api: Api, database_url: str, state: str) -> None:
    response = await insert_webhook(api, database_url, state)
    assert (response.status, (await response.json())["error"]["code"]) == (503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("statement", ["REVOKE SELECT ON runs FROM results_api", "ALTER TABLE runs RENAME TO moved"])
async def test_error_of_the_server_during_a_read_is_503(api: Api, database_url: str, statement: str) -> None:
    await execute(database_url, statement)
    response = await api.send("GET", "/v1/runs")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "permission denied" not in await response.text()


async def test_unexpected_error_shows_no_internals(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("internals")

    monkeypatch.setattr("service.runs.operations.as_organization", fail)
    response = await api.send("GET", "/v1/runs/run_1")
    body = await response.json()
    assert (response.status, body["error"]["code"]) == (500, "internal_error")
    assert body["request_id"] == response.headers["X-Request-Id"]
    assert "internals" not in await response.text()
