"""Failure groups over HTTP: ranking, ranges, budgets, tickets, permissions, and isolation."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from service.database.database import as_organization
from service.domain.filters import ResultFilter
from service.domain.ids import OrgId, fingerprint_id
from service.failures import store as failures_store
from service.failures.fingerprints import fingerprint
from service.results.queries import Budgets
from tests.report_api import serving_reports_with_ingester
from tests.run_events import result, run_event
from tests.served import Api

ORG = OrgId(1)
NO_MONEY = "the card of customer {} has no money"
TIMEOUT = "the payment provider timed out after {} ms"
TICKET = "https://tickets.example/7"


def failed(name: str, message: str, status: str = "failed", **fields: Any) -> Any:
    return result(name, status, failure={"type": "E", "message": message}, **fields)


async def ingest(api: Api, run_id: str, *results: Any, day: int = 20, **fields: Any) -> None:
    """Store a run that completed on this day of the month."""
    outcomes = await api.store.ingest(run_event(run_id, list(results), time=f"2026-05-{day}T12:00:00Z", **fields))
    assert outcomes[0].status == "stored", outcomes


async def ingest_two_groups(api: Api) -> None:
    """Store two runs with three failures of one group and two of another one."""
    await ingest(api, "a", failed("pays", NO_MONEY.format(1)), failed("ships", TIMEOUT.format(5)), result("ok"), day=20)
    await ingest(
        api, "b", failed("pays", NO_MONEY.format(2)), failed("buys", NO_MONEY.format(3), "error"),
        failed("ships", TIMEOUT.format(7)), day=21, branch="main",
    )  # fmt: skip


def group_id(message: str, project_id: str = "shop") -> str:
    return fingerprint_id(fingerprint(project_id, "auth.login", "E", message, None))


async def groups(api: Api, key: str | None = None, **params: str) -> list[tuple[str, int, int, int]]:
    """Return the ID and the counts of each group."""
    page = await api.get("/v1/failures", params or {"project_id": "shop"}, key=key)
    assert (page["has_more"], page["next_cursor"], page["truncated"]) == (False, None, False)
    return [(item["id"], item["results"], item["cases"], item["runs"]) for item in page["data"]]


async def patch(api: Api, id_: str, body: Any, key: str | None = None, **headers: Any) -> tuple[int, Any]:
    response = await api.send("PATCH", f"/v1/failures/{id_}", json=body, key=key, **headers)
    return response.status, orjson.loads(await response.read())


async def test_group_has_the_same_example_in_the_list_and_by_id(api: Api) -> None:
    statuses = ("failed", "error")
    results = [failed(f"case {n}", NO_MONEY.format(n), statuses[n % 2]) for n in range(12)]
    await ingest(api, "a", *results, day=20)
    await ingest(api, "b", *results, day=21)
    [listed] = (await api.get("/v1/failures", {"project_id": "shop"}))["data"]
    found = await api.get(f"/v1/failures/{listed['id']}")
    assert found["example_result_id"] == listed["example_result_id"]


async def test_groups_are_ranked_by_their_results(api: Api) -> None:
    await ingest_two_groups(api)
    page = await api.get("/v1/failures", {"project_id": "shop"})
    newest = (await api.get("/v1/results", {"run_id": "b", "status": "failed"}))["data"]
    assert page["data"][0] == {
        "id": group_id(NO_MONEY.format(9)), "project_id": "shop", "type": "E",
        "message": page["data"][0]["message"], "results": 3, "cases": 2, "runs": 2,
        "first_seen": "2026-05-20T12:00:00.000Z", "last_seen": "2026-05-21T12:00:00.000Z",
        "example_result_id": page["data"][0]["example_result_id"], "ticket_url": None, "owners": [],
    }  # fmt: skip
    assert page["data"][0]["message"] in (NO_MONEY.format(2), NO_MONEY.format(3))
    examples = {item["id"] for item in newest} | {
        item["id"] for item in (await api.get("/v1/results", {"run_id": "b", "status": "error"}))["data"]
    }
    assert page["data"][0]["example_result_id"] in examples
    assert [(item["message"], item["results"], item["cases"], item["runs"]) for item in page["data"][1:]] == [
        (TIMEOUT.format(7), 2, 1, 2)
    ]
    assert await groups(api, project_id="shop", limit="1") == [(group_id(NO_MONEY.format(9)), 3, 2, 2)]


@pytest.mark.parametrize(
    ("params", "counts"),
    [
        ({"run_id": "a"}, [(1, 1, 1), (1, 1, 1)]),
        ({"run_id": "a", "project_id": "blog"}, []),
        ({"run_id": "a", "branch": "main"}, []),
        ({"run_id": "unknown"}, []),
        ({"project_id": "shop", "branch": "main"}, [(2, 2, 1), (1, 1, 1)]),
        ({"project_id": "shop", "from": "2026-05-21"}, [(2, 2, 1), (1, 1, 1)]),
        ({"project_id": "shop", "to": "2026-05-21"}, [(1, 1, 1), (1, 1, 1)]),
        ({"project_id": "unknown"}, []),
    ],
)
async def test_range_limits_the_counts_but_not_the_times(api: Api, params: Any, counts: Any) -> None:
    await ingest_two_groups(api)
    assert [group[1:] for group in await groups(api, **params)] == counts
    for item in (await api.get("/v1/failures", params))["data"]:
        assert (item["first_seen"][:10], item["last_seen"][:10]) == ("2026-05-20", "2026-05-21")


async def test_only_deciding_failures_count(api: Api) -> None:
    early = [{"status": "failed", "failure": {"message": "early"}}, {"status": "passed"}]
    await ingest(api, "a", result("flaky", "passed", attempts=early), result("skipped", "skipped"), result("ok"))
    assert await groups(api) == []
    await ingest(api, "b", failed("pays", NO_MONEY.format(1)), completed_at="2026-05-20T12:00:00Z")
    await ingest(api, "b", result("pays"), day=21, completed_at="2026-05-20T12:00:00Z")
    assert await groups(api) == []


async def test_report_and_event_are_one_group(database_url: str, tmp_path: Path) -> None:
    report = (
        '<testsuite name="auth.login"><testcase name="pays"><failure type="E" message="{}"/></testcase></testsuite>'
    )
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await ingest(reports.api, "a", failed("pays", NO_MONEY.format(1)))
        receipt = await reports.ingest(report.format(NO_MONEY.format(2)).encode())
        assert receipt["status"] == "stored", receipt
        assert [group[1:] for group in await groups(reports.api)] == [(2, 1, 2)]


async def test_list_is_truncated_at_the_budgets(api: Api) -> None:
    await ingest_two_groups(api)

    async def ranked(budgets: Budgets, **fields: Any) -> tuple[int, bool]:
        chosen = ResultFilter(**{"project_id": "shop", **fields})
        async with as_organization(api.resources.pool, ORG) as connection:
            found = await failures_store.list_groups(connection, ORG, chosen, 100, budgets)
        return sum(group.results for group in found.groups), found.truncated

    assert await ranked(Budgets(2, 5)) == (5, False)
    assert await ranked(Budgets(1, 5)) == (3, True)
    assert await ranked(Budgets(2, 4)) == (4, True)
    assert await ranked(Budgets(1, 3), branch="main") == (3, False)
    assert await ranked(Budgets(1, 2), branch="main") == (2, True)
    assert await ranked(Budgets(1, 1), run_id="a") == (1, True)


async def test_one_group_covers_all_stored_results(api: Api) -> None:
    await ingest_two_groups(api)
    [listed, _] = (await api.get("/v1/failures", {"project_id": "shop"}))["data"]
    found = await api.get(f"/v1/failures/{listed['id']}")
    assert found == listed | {
        "truncated": False,
        "message": found["message"],
        "example_result_id": found["example_result_id"],
        "state": None,
        "opened_at": None,
        "resolved_at": None,
    }
    response = await api.send("GET", f"/v1/failures/{listed['id']}")
    unchanged = await api.send("GET", f"/v1/failures/{listed['id']}", If_None_Match=response.headers["ETag"])
    assert unchanged.status == 304


@pytest.mark.parametrize("id_", ["fp1_" + "0" * 16, "fp1_x", "fp2_" + "0" * 16, "res_1"])
async def test_unknown_group_is_not_found(shared_api: Api, id_: str) -> None:
    await ingest_two_groups(shared_api)
    await shared_api.error(f"/v1/failures/{id_}", 404)
    assert (await patch(shared_api, id_, {"ticket_url": TICKET}))[0] == 404


async def test_ticket_applies_to_later_failures(api: Api) -> None:
    await ingest_two_groups(api)
    id_ = group_id(TIMEOUT.format(1))
    status, changed = await patch(api, id_, {"ticket_url": TICKET})
    assert (status, changed["ticket_url"]) == (200, TICKET)
    assert await api.get(f"/v1/failures/{id_}") == changed
    await ingest(api, "c", failed("ships", TIMEOUT.format(9)), day=22)
    assert [item["ticket_url"] for item in (await api.get("/v1/failures", {"run_id": "c"}))["data"]] == [TICKET]
    for run_id in "abc":
        assert (await api.send("DELETE", f"/v1/runs/{run_id}")).status == 204
    await api.error(f"/v1/failures/{id_}", 404)
    await ingest(api, "d", failed("ships", TIMEOUT.format(9)), day=23)
    assert (await api.get(f"/v1/failures/{id_}"))["ticket_url"] == TICKET
    status, changed = await patch(api, id_, {"ticket_url": None})
    assert (status, changed["ticket_url"]) == (200, None)
    assert (await api.get(f"/v1/failures/{id_}"))["ticket_url"] is None


async def test_change_is_made_once_per_idempotency_key_and_audited(api: Api) -> None:
    await ingest_two_groups(api)
    id_ = group_id(TIMEOUT.format(1))
    first = await patch(api, id_, {"ticket_url": TICKET}, Idempotency_Key="k")
    await patch(api, id_, {"ticket_url": None})
    assert await patch(api, id_, {"ticket_url": TICKET}, Idempotency_Key="k") == first
    assert (await api.get(f"/v1/failures/{id_}"))["ticket_url"] is None
    entries = await api.store.pool.fetch("SELECT action FROM audit_trail")
    assert [row["action"] for row in entries] == [f"PATCH /v1/failures/{id_}"] * 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "ticket_url"),
        ({"ticket_url": "javascript:alert(1)"}, "ticket_url"),
        ({"ticket_url": "https://"}, "ticket_url"),
        ({"ticket_url": "https://t/" + "x" * 1000}, "ticket_url"),
        ({"ticket_url": 7}, "ticket_url"),
        ({"ticket_url": TICKET, "message": "x"}, "message"),
    ],
)
async def test_invalid_ticket_names_the_field(shared_api: Api, body: Any, param: str) -> None:
    status, response = await patch(shared_api, group_id("x"), body)
    assert (status, response["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "project_id"),
        ({"branch": "main"}, "project_id"),
        ({"project_id": "shop", "limit": "101"}, "limit"),
        ({"project_id": "shop", "limit": "0"}, "limit"),
        ({"project_id": "shop", "from": "yesterday"}, "from"),
        ({"project_id": "shop", "starting_after": "x"}, "starting_after"),
        ({"project_id": "shop", "environment": "x"}, "environment"),
    ],
)
async def test_invalid_query_names_the_parameter(shared_api: Api, params: Any, param: str) -> None:
    assert (await shared_api.error("/v1/failures", 400, params))["param"] == param


async def test_viewer_reads_and_engineer_sets_tickets(api: Api) -> None:
    await ingest_two_groups(api)
    id_ = group_id(TIMEOUT.format(1))
    viewer, engineer = [(await api.make_key(role)).key for role in ("viewer", "engineer")]
    assert await groups(api, viewer) == await groups(api)
    assert (await patch(api, id_, {"ticket_url": TICKET}, viewer))[0] == 403
    assert (await patch(api, id_, {"ticket_url": TICKET}, engineer))[0] == 200


async def test_organizations_and_projects_are_isolated(api: Api) -> None:
    """The same failure in two projects has two groups; in two organizations, one fingerprint but two groups."""
    _, other = await api.make_organization("other")
    id_ = group_id(TIMEOUT.format(1))
    await ingest(api, "a", failed("ships", TIMEOUT.format(1)))
    await ingest(api, "a", failed("ships", TIMEOUT.format(1)), failed("x", TIMEOUT.format(2)), organization="other")
    await ingest(api, "b", failed("ships", TIMEOUT.format(1)), project_id="blog")
    await patch(api, id_, {"ticket_url": TICKET})
    assert await groups(api) == [(id_, 1, 1, 1)]
    assert await groups(api, other) == [(id_, 2, 2, 1)]
    assert (await api.get(f"/v1/failures/{id_}", key=other))["ticket_url"] is None
    bound = (await api.make_key("engineer", project_id="blog")).key
    own = group_id(TIMEOUT.format(1), "blog")
    assert await groups(api, bound, limit="5") == await groups(api, bound, run_id="b") == [(own, 1, 1, 1)]
    assert await groups(api, bound, run_id="a") == await groups(api, bound, project_id="shop") == []
    await api.error(f"/v1/failures/{id_}", 404, key=bound)
    assert (await patch(api, id_, {"ticket_url": None}, bound))[0] == 404
    assert (await patch(api, own, {"ticket_url": TICKET}, bound))[0] == 200


async def test_failing_result_has_the_id_of_its_group(api: Api) -> None:
    await ingest(api, "a", failed("pays", NO_MONEY.format(1)), result("ok"))
    shown = {}
    for item in (await api.get("/v1/results"))["data"]:
        shown[item["name"]] = (await api.get(f"/v1/results/{item['id']}"))["fingerprint"]
    assert shown == {"pays": group_id(NO_MONEY.format(1)), "ok": None}
