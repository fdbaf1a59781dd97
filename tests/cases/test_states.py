"""The states of cases over HTTP, from stored runs: in each object, as a filter, and after each change."""

from typing import Final

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from service.cases import operations
from service.cases.contract import CaseSummary
from service.domain.statuses import STATE_VALUES
from service.identity.keys.model import Caller
from service.states.contract import write_state
from service.states.model import ShownState
from tests.case_states import day_of_runs, update_states
from tests.run_events import result, run_event
from tests.served import Api

HEALTHY: Final = write_state(ShownState())
BROKEN: Final = write_state(ShownState("broken", "linux", "d1-24", "d1-23", "c1-24", "c1-23", 3, 3, 0, 3.05 / 3.55))
FLAKY: Final = write_state(ShownState("flaky", None, None, "d0-24", None, "c0-24", 25, 0, 13, 13.05 / 25.55))
NAMES: Final = {"pays": "broken", "ships": "flaky", "searches": "flaky", "logs in": "healthy", "logs out": "healthy"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored(shared_api: Api) -> Api:
    """Store flaky cases, of which one is broken on Linux, and cases of other projects and organizations."""
    await shared_api.make_organization("other")
    flaky, passed = "F" + 12 * "pF", 25 * "p"
    histories = {"pays": flaky, "ships": flaky, "searches": flaky, "logs in": passed, "logs out": passed}
    broken = {"pays": 24 * "p" + "fff", "logs in": 27 * "p"}
    await shared_api.store.ingest(
        *day_of_runs(0, histories),
        *day_of_runs(1, broken, environment="linux"),
        *day_of_runs(2, {"posts": 25 * "p" + "fff"}, project_id="blog"),
        *day_of_runs(3, {"logs in": 25 * "p" + "fff"}, organization="other"),
        run_event("topic", [result("logs in", variant={"os": "mac"}), result("pays", variant={"os": "mac"})]),
    )
    await update_states(shared_api.store.pool)
    return shared_api


async def states(api: Api, *params: tuple[str, str], key: str | None = None) -> dict[str, str]:
    """Return the states of the listed cases without a variant."""
    cases = await api.list_all("/v1/cases", [("project_id", "shop"), ("limit", "1"), *params])
    assert len({case["id"] for case in cases}) == len(cases)
    return {case["name"]: case["state"]["value"] for case in cases if not case["variant"]}


def filter_of(*values: str) -> list[tuple[str, str]]:
    return [("state", value) for value in values]


def named(*values: str) -> dict[str, str]:
    return {name: value for name, value in NAMES.items() if value in values}


async def test_every_case_has_the_worst_of_its_states(stored: Api) -> None:
    assert await states(stored) == NAMES
    listed = await stored.list_all("/v1/cases", {"project_id": "shop", "q": "pays", "variant": "os:mac"})
    assert [case["state"] for case in listed] == [HEALTHY]
    for name, state in (("pays", BROKEN), ("ships", FLAKY), ("logs in", HEALTHY)):
        listed = await stored.get("/v1/cases", {"project_id": "shop"})
        [case] = [case for case in listed["data"] if (case["name"], case["variant"]) == (name, {})]
        assert case["state"] == state
        assert await stored.get(f"/v1/cases/{case['id']}") == case
        TypeAdapter(CaseSummary).validate_python(case)


@pytest.mark.parametrize(
    "values",
    [
        *((value,) for value in STATE_VALUES), ("flaky", "broken"), ("healthy", "broken"), ("broken", "broken"),
        STATE_VALUES,
    ],
)  # fmt: skip
async def test_cases_are_filtered_by_their_shown_state(stored: Api, values: tuple[str, ...]) -> None:
    expected = named(*values)
    assert await states(stored, *filter_of(*values)) == expected
    for params, matches in (
        ([("q", "s")], {"pays", "ships", "searches", "logs in", "logs out"}),
        ([("q", "logs")], {"logs in", "logs out"}),
        ([("suite", "auth.login")], set(NAMES)),
        ([("suite", "other")], set()),
        ([("branch", "main"), ("from", "2026-05-02"), ("to", "2026-05-03")], {"pays", "logs in"}),
        ([("variant", "os:mac")], set()),
    ):  # fmt: skip
        found = await states(stored, *filter_of(*values), *params)
        assert found == {name: value for name, value in expected.items() if name in matches}, params


@pytest.mark.parametrize(
    ("sort", "value", "names"),
    [
        ("failures", "broken", ["pays"]),
        ("failures", "flaky", []),
        ("flaky", "flaky", ["searches", "ships"]),
        ("flaky", "broken", ["pays"]),
        ("flaky", "healthy", []),
        ("duration", "healthy", ["logs in"]),
        ("duration", "broken", ["pays"]),
    ],
)
async def test_rankings_are_filtered_by_state(stored: Api, sort: str, value: str, names: list[str]) -> None:
    params = {"project_id": "shop", "sort": sort, "state": value, "branch": "main"}
    ranked = await stored.get("/v1/cases", params)
    assert (sorted(case["name"] for case in ranked["data"]), ranked["truncated"]) == (names, False)
    assert {case["state"]["value"] for case in ranked["data"]} <= {value}


async def test_other_variants_have_their_own_states(stored: Api) -> None:
    caller = Caller(stored.org_id, "", "viewer", None)
    [healthy] = await stored.list_all("/v1/cases", {"project_id": "shop", "q": "pays", "variant": "os:mac"})
    case = await operations.find_case(stored.store.pool, caller, healthy["id"], 50)
    [other] = await operations.find_other_variants(stored.store.pool, caller, case, 50)
    assert (case.state, write_state(other.state)) == (ShownState(), BROKEN)


async def test_cursor_belongs_to_the_states(stored: Api) -> None:
    params = [("project_id", "shop"), ("limit", "1")]
    page = await stored.get("/v1/cases", [*params, *filter_of("flaky", "healthy")])
    cursor = ("starting_after", page["next_cursor"])
    assert (await stored.error("/v1/cases", 400, [*params, *filter_of("flaky"), cursor]))["param"] == "starting_after"
    assert len((await stored.get("/v1/cases", [*params, *filter_of("healthy", "flaky"), cursor]))["data"]) == 1


async def test_unknown_state_is_an_error(stored: Api) -> None:
    error = await stored.error("/v1/cases", 400, {"project_id": "shop", "state": "unstable"})
    assert error["param"].startswith("state")
    assert "healthy, flaky, broken" in error["message"]


async def test_other_projects_and_organizations_have_their_own_states(stored: Api) -> None:
    bound = (await stored.make_key(project_id="blog")).key
    for params, key, names in (
        ({"state": "broken"}, bound, ["posts"]),
        ({"state": "flaky"}, bound, []),
        ({"state": "broken", "project_id": "shop"}, bound, []),
        ({"state": "healthy", "project_id": "shop"}, bound, []),
        ({"state": "broken", "project_id": "shop", "sort": "failures"}, bound, []),
        ({"state": "broken", "project_id": "blog"}, None, ["posts"]),
    ):
        assert [case["name"] for case in (await stored.get("/v1/cases", params, key))["data"]] == names, params
    other = (await stored.make_key(org_id=await stored.store.pool.fetchval(OTHER))).key
    for params, names in (({"state": "broken"}, ["logs in"]), ({"state": "flaky"}, []), ({"state": "healthy"}, [])):
        listed = await stored.get("/v1/cases", {"project_id": "shop", **params}, other)
        assert [case["name"] for case in listed["data"]] == names, params


OTHER: Final = "SELECT org_id FROM organizations WHERE slug = 'other'"


async def test_repaired_case_is_healthy_again(api: Api) -> None:
    history = {"pays": 24 * "p" + "fff"}
    await api.store.ingest(*day_of_runs(0, history))
    await update_states(api.store.pool)
    assert await states(api, *filter_of("broken")) == {"pays": "broken"}
    await api.store.ingest(*day_of_runs(1, {"pays": 3 * "p"}))
    await update_states(api.store.pool)
    assert await states(api, *filter_of("broken", "flaky")) == {}
    [case] = await api.list_all("/v1/cases", {"project_id": "shop", "state": "healthy"})
    assert case["state"] == HEALTHY
