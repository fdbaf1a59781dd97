"""Automatic quarantine: the policy of a project follows the states of cases."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import pytest

from service.mutations import store as mutations_store
from service.projects import store as projects_store
from service.quarantines import model
from service.quarantines import store as quarantines_store
from service.quarantines.apply_policy import apply_policy
from service.states.update_states import StateUpdater
from tests.served import Api
from tests.states.test_update_states import run, update

POLICY: Final = {"max_share": 1.0, "days": 14, "release_after_runs": 5}
HEALTHY_RUNS: Final = 24
FLAKES: Final = ("Fpp", "ppp", "Fpp", "ppp")  # case `c0` is flaky


async def set_policy(api: Api, policy: Any, project_id: str = "shop") -> Any:
    response = await api.send("PATCH", f"/v1/projects/{project_id}", json={"auto_quarantine": policy})
    assert response.status == 200, await response.text()
    return await response.json()


async def status(api: Api) -> Any:
    return (await api.get("/v1/projects/shop"))["auto_quarantine_status"]


async def active(api: Api) -> Any:
    return (await api.get("/v1/quarantines", {"active": "true", "limit": "1000"}))["data"]


async def case_ids(api: Api) -> list[str]:
    """Return the IDs of the cases `c0`, `c1`, and so on."""
    rows = await api.store.pool.fetch("SELECT case_public_id(case_key) AS id FROM cases WHERE org_id = 1 ORDER BY name")
    return [row["id"] for row in rows]


async def audit(api: Api) -> list[tuple[str, str, str | None]]:
    async with api.store.pool.acquire() as connection:
        rows = await mutations_store.list_newest(connection, api.org_id, 100)
    return [(row["action"], row["subject"], row["actor_name"]) for row in rows if row["actor"] == "policy"]


class Branch:
    """The default branch of the project `shop`, whose runs follow each other."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.runs = 0
        self.updater = StateUpdater(api.store.pool)

    async def add(self, *outcomes: str, **fields: Any) -> None:
        """Store runs, and update the states after each of them."""
        for letters in outcomes:
            await self.api.store.ingest(run(self.runs, letters, **fields))
            self.runs += 1
            await update(self.api.store, self.updater)


@pytest.fixture
async def branch(api: Api) -> Branch:
    """A branch with healthy runs of three cases, and a policy."""
    branch = Branch(api)
    await api.store.ingest(*[run(number, "ppp") for number in range(HEALTHY_RUNS)])
    branch.runs = HEALTHY_RUNS
    await update(api.store, branch.updater)
    await set_policy(api, POLICY)
    return branch


async def test_flaky_case_is_quarantined_and_explained(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    [quarantine] = await active(api)
    [case, *_] = await case_ids(api)
    duration = datetime.fromisoformat(quarantine["expires_at"]) - datetime.fromisoformat(quarantine["created_at"])
    assert abs(duration - timedelta(days=14)) < timedelta(seconds=10)
    assert (quarantine["case"], quarantine["created_by"], quarantine["created_by_name"]) == (
        case, "policy", "automatic quarantine",
    )  # fmt: skip
    assert quarantine["reason"] == (
        "was flaky in 2 of 27 runs on main; renewed by the policy of the project while the case is flaky"
    )
    assert await status(api) == {"active": 1, "limit": 3, "waiting": 0}
    events = await api.store.pool.fetch("SELECT type, data FROM events WHERE type LIKE 'quarantine%'")
    assert [(row["type"], orjson.loads(row["data"])) for row in events] == [("quarantine.created", quarantine)]
    assert await audit(api) == [("quarantines create", quarantine["id"], "automatic quarantine")]


async def test_gate_excuses_the_case(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    await api.store.ingest(run(900, "fpp", branch="topic", base_branch="main"))
    response = await api.send("POST", "/v1/runs/r900/decisions", json={"policy": {"max_failures": 0}})
    decision = await response.json()
    assert decision["failures"]["quarantined"] == 1
    assert decision["decision"] == "passed"


async def test_quarantine_is_renewed_only_when_less_than_half_remains(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    [created] = await active(api)
    await branch.add("ppp")
    assert await active(api) == [created]
    await set_expiry(api, days=6.9)
    await branch.add("ppp")
    [renewed] = await active(api)
    assert renewed == created | {"expires_at": renewed["expires_at"]}
    assert datetime.fromisoformat(renewed["expires_at"]) > datetime.now(UTC) + timedelta(days=13)
    assert await audit(api) == [("quarantines create", created["id"], "automatic quarantine")]


async def test_expired_quarantine_is_created_again(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    [expired] = await active(api)
    await set_expiry(api, days=-1)
    await branch.add("ppp")
    [created] = await active(api)
    assert (created["case"], created["id"] == expired["id"]) == (expired["case"], False)


async def test_quarantine_of_a_broken_case_ends(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    [quarantine] = await active(api)
    await branch.add(*["ppp"] * 40, *["fpp"] * 8)
    assert await api.store.pool.fetchval("SELECT state FROM case_states") == "broken"
    assert await active(api) == []
    assert (await api.get(f"/v1/quarantines/{quarantine['id']}"))["ended_at"] is not None
    assert [action for action, subject, _ in await audit(api) if subject == quarantine["id"]] == [
        "quarantines end", "quarantines create",
    ]  # fmt: skip


async def test_case_that_is_broken_in_one_environment_is_not_quarantined(api: Api, branch: Branch) -> None:
    linux = {"environment": "linux"}
    await branch.add(*["ppp"] * HEALTHY_RUNS, *["fpp"] * 3, **linux)
    await branch.add(*FLAKES)
    assert await active(api) == []
    assert await api.store.pool.fetchval("SELECT count(*) FROM case_states") == 2


@pytest.mark.slow
async def test_healthy_case_is_released_after_the_runs_of_the_policy(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    [quarantine] = await active(api)
    while await api.store.pool.fetchval("SELECT count(*) FROM case_states"):
        await branch.add("ppp")
        assert branch.runs < 300
    await branch.add(*["ppp"] * 2)
    await branch.add(*["ppp"] * 2, environment="linux")
    assert await active(api) == [quarantine]
    await branch.add("ppp")
    assert await active(api) == []
    assert (await api.get(f"/v1/quarantines/{quarantine['id']}"))["ended_at"] is not None
    assert await status(api) == {"active": 0, "limit": 3, "waiting": 0}


async def test_other_quarantines_of_cases_stay_unchanged(api: Api, branch: Branch) -> None:
    case, other, _ = await case_ids(api)
    manual = [
        await (await api.send("POST", "/v1/quarantines", json={"reason": "mine", "case": each})).json()
        for each in (case, other)
    ]
    await branch.add(*FLAKES, *["pfp"] * 3)
    assert sorted(await active(api), key=lambda each: each["id"]) == manual
    assert await audit(api) == []


async def test_case_is_not_quarantined_again_after_a_person_ended_it(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    [quarantine] = await active(api)
    assert (await api.send("DELETE", f"/v1/quarantines/{quarantine['id']}")).status == 204
    await branch.add("Fpp")
    assert await active(api) == []
    await set_expiry(api, days=-1)
    await branch.add("ppp")
    assert [each["case"] for each in await active(api)] == [quarantine["case"]]


async def test_quarantine_that_a_person_ends_during_the_decision_stays_ended(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    async with api.store.pool.acquire() as connection:
        [read], _ = await quarantines_store.find_of_cases(connection, api.org_id, "shop")
        await api.send("DELETE", f"/v1/quarantines/{read.quarantine_id}")
        await quarantines_store.change_of_policy(connection, api.org_id, [read])
    assert await active(api) == []


async def test_removal_of_the_policy_waits_for_its_decision(api: Api, branch: Branch) -> None:
    async with api.store.pool.acquire() as connection, connection.transaction():
        await projects_store.lock_policy(connection, api.org_id, "shop")
        removing = asyncio.create_task(set_policy(api, None))
        done, _ = await asyncio.wait([removing], timeout=0.3)
        assert not done
    assert (await removing)["auto_quarantine"] is None


@pytest.mark.parametrize(("share", "limit"), [(0.04, 0), (0.1, 2), (0.29, 5)])
async def test_active_quarantines_are_limited_to_the_share(api: Api, share: float, limit: int) -> None:
    """Of 20 cases, 5 are flaky. A partial run, or another environment with 3 cases, is no reason for another limit."""
    await set_up_flaky(api, cases=20, flaky=5)
    branch = Branch(api)
    branch.runs = 50
    await set_policy(api, POLICY | {"max_share": share})
    await branch.add("p" * 20, "ppp")
    await branch.add("ppp", environment="smoke")
    first = await api.store.pool.fetch(
        "SELECT case_public_id(case_key) AS id FROM case_states ORDER BY case_key LIMIT $1", limit
    )
    assert {each["case"] for each in await active(api)} == {row["id"] for row in first}
    assert await status(api) == {"active": limit, "limit": limit, "waiting": 5 - limit}


async def test_active_quarantines_have_absolute_limits(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await set_up_flaky(api, cases=20, flaky=12)
    branch = Branch(api)
    branch.runs = 50
    monkeypatch.setattr(model, "MAX_OF_POLICY", 7)
    await set_policy(api, POLICY)
    await branch.add("p" * 20)
    assert (len(await active(api)), await status(api)) == (7, {"active": 7, "limit": 7, "waiting": 5})
    monkeypatch.setattr(model, "MAX_OF_POLICY", 200)
    monkeypatch.setattr("service.quarantines.apply_policy.MAX_ACTIVE", 9)
    await branch.add("p" * 20)
    assert (len(await active(api)), await status(api)) == (9, {"active": 9, "limit": 9, "waiting": 3})


async def test_policy_of_a_project_with_states_applies_at_once(api: Api) -> None:
    await set_up_flaky(api, cases=3, flaky=1)
    await set_policy(api, POLICY)
    await update(api.store)
    assert len(await active(api)) == 1


async def test_quarantines_of_a_removed_policy_expire(api: Api, branch: Branch) -> None:
    manual = await (
        await api.send("POST", "/v1/quarantines", json={"project_id": "shop", "reason": "x", "name": "x"})
    ).json()
    await branch.add(*FLAKES)
    assert len(await active(api)) == 2
    project = await set_policy(api, None)
    assert (project["auto_quarantine"], project["auto_quarantine_status"]) == (None, None)
    assert await active(api) == [manual]
    await branch.add("Fpp")
    assert await active(api) == [manual]
    await set_policy(api, POLICY)
    await branch.add("ppp")
    assert len(await active(api)) == 2


async def test_policy_of_a_project_that_is_being_deleted_does_nothing(api: Api, branch: Branch) -> None:
    await branch.add(*FLAKES)
    await set_expiry(api, days=-1)
    assert (await api.send("DELETE", "/v1/projects/shop?confirm=shop")).status == 202
    async with api.store.pool.acquire() as connection:
        await apply_policy(connection, api.org_id, "shop")
    assert await active(api) == []


async def test_policy_applies_to_its_project_and_organization_only(api: Api, branch: Branch) -> None:
    """The same cases are flaky in another project, and in an organization whose project has the same name."""
    _, other = await api.make_organization("other")
    outcomes = ["ppp"] * HEALTHY_RUNS + list(FLAKES)
    for fields in ({"project_id": "blog"}, {"organization": "other"}):
        for number, letters in enumerate(outcomes):
            event = run(number, letters)
            event["data"]["run"]["run_id"] = f"{'-'.join(fields.values())}-{number}"
            event["data"]["run"] |= {key: value for key, value in fields.items() if key == "project_id"}
            event["data"] |= {key: value for key, value in fields.items() if key == "organization"}
            await api.store.ingest(event)
    await branch.add(*FLAKES)
    assert await api.store.pool.fetchval("SELECT count(*) FROM case_states") == 3
    assert [each["project_id"] for each in await active(api)] == ["shop"]
    assert (await api.get("/v1/quarantines", key=other))["data"] == []


@pytest.mark.parametrize(
    ("policy", "param"),
    [
        (POLICY | {"max_share": 0}, "auto_quarantine.max_share"),
        (POLICY | {"max_share": 1.1}, "auto_quarantine.max_share"),
        (POLICY | {"max_share": "0.1"}, "auto_quarantine.max_share"),
        (POLICY | {"days": 0}, "auto_quarantine.days"),
        (POLICY | {"days": 91}, "auto_quarantine.days"),
        (POLICY | {"release_after_runs": 0}, "auto_quarantine.release_after_runs"),
        (POLICY | {"release_after_runs": 501}, "auto_quarantine.release_after_runs"),
        (POLICY | {"release_after_runs": 1.5}, "auto_quarantine.release_after_runs"),
        ({"max_share": 0.1, "days": 14}, "auto_quarantine.release_after_runs"),
        (POLICY | {"weeks": 2}, "auto_quarantine.weeks"),
    ],
)
async def test_invalid_policy_names_the_field(shared_api: Api, policy: Any, param: str) -> None:
    response = await shared_api.send("PATCH", "/v1/projects/shop", json={"auto_quarantine": policy})
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, param), error
    assert error["message"].startswith(param) or param in error["message"]


async def set_expiry(api: Api, days: float) -> None:
    """Let the quarantines expire in some days."""
    await api.store.pool.execute("UPDATE quarantines SET expires_at = now() + $1", timedelta(days=days))


async def set_up_flaky(api: Api, cases: int, flaky: int) -> None:
    """Store runs in which the first of the cases are flaky."""
    good, bad = "p" * cases, "F" * flaky + "p" * (cases - flaky)
    await api.store.ingest(*[run(number, bad if number in (24, 26) else good) for number in range(28)])
    await update(api.store)
    assert await api.store.pool.fetchval("SELECT count(*) FROM case_states WHERE state = 'flaky'") == flaky
