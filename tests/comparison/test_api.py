"""GET /v1/runs/{run_id}/comparison: the changes of a run against its window, a run, or a branch."""

from typing import Any

import pydantic
import pytest

from service.comparison import compare_runs
from service.comparison import model as comparison_model
from service.comparison import store as comparison_store
from service.comparison.contract import RunComparison
from service.database.database import as_organization
from service.domain.ids import case_key, case_public_id
from tests.run_events import result, run_event
from tests.served import Api

MODEL = pydantic.TypeAdapter(RunComparison)
NO_CHANGES = dict.fromkeys(comparison_model.CHANGES, 0)
STATUSES = {"p": "passed", "f": "failed", "e": "error", "s": "skipped", "c": "canceled"}


def run(run_id: str, hour: int, cases: str, **fields: Any) -> Any:
    """Return a run that ends at this hour. A case is a name and a letter: `a:p` passed, and `a:F` is flaky."""
    flaky = [{"status": "failed"}, {"status": "passed"}]
    results = [
        result(name, case_id=name, **({"attempts": flaky} if letter == "F" else {"status": STATUSES[letter]}))
        for name, letter in (case.split(":") for case in cases.split())
    ]
    return run_event(
        run_id,
        results,
        completed_at=f"2026-05-{1 + hour // 24:02}T{hour % 24:02}:00:00Z",
        **{"branch": "main"} | fields,
    )


async def compare(api: Api, params: Any = (), run_id: str = "pr", key: str | None = None) -> Any:
    body = await api.get(f"/v1/runs/{run_id}/comparison", params, key)
    MODEL.validate_python(body)
    return body


async def error_of(api: Api, baseline: str, key: str | None = None, run_id: str = "pr") -> tuple[int, Any]:
    response = await api.send("GET", f"/v1/runs/{run_id}/comparison", {"baseline": baseline}, key)
    return response.status, (await response.json()).get("error", {}).get("param")


def changes(body: Any) -> list[tuple[str, str]]:
    return [(item["change"], item["name"]) for item in body["data"]]


async def test_every_change_with_its_evidence(api: Api) -> None:
    await api.store.ingest(
        run("main_1", 1, "known:f flaky:f new:p fixed:p same:p"),
        run("main_2", 2, "known:f flaky:F new:p fixed:f same:p gone:s"),
        run("main_3", 3, "known:e flaky:p new:p fixed:f same:p gone:p"),
        run(
            "pr", 4, "known:f flaky:f new:e fixed:p same:p added:s", branch="topic", base_branch="main", commit_sha="c0"
        ),
    )
    body = await compare(api)
    assert changes(body) == [
        ("new_failure", "new"), ("flaky_failure", "flaky"), ("known_failure", "known"), ("fixed", "fixed"),
        ("added", "added"), ("removed", "gone"),
    ]  # fmt: skip
    assert body["counts"] == {change: int(change != "quarantined") for change in comparison_model.CHANGES}
    assert {name: body[name] for name in ("run_id", "revision", "truncated", "has_more", "next_cursor")} == {
        "run_id": "pr", "revision": 1, "truncated": False, "has_more": False, "next_cursor": None,
    }  # fmt: skip
    assert body["baseline"] == {
        "run_id": "main_3", "branch": "main", "commit_sha": None, "completed_at": "2026-05-01T03:00:00.000Z",
        "revision": 1,
    }  # fmt: skip
    items = {item["name"]: item for item in body["data"]}
    assert {name: item["baseline_status"] for name, item in items.items()} == {
        "new": "passed", "flaky": "passed", "known": "error", "fixed": "failed", "added": None, "gone": "passed",
    }  # fmt: skip
    assert items["known"]["evidence"] == {
        "runs": 3, "failed": 3, "flaky": 0, "failure_rate": 0.8592, "since_run_id": None, "consecutive_failures": 3,
        "failing_since_run_id": "main_1", "last_passed_run_id": None, "repaired_run_id": None, "outages": 0,
    }  # fmt: skip
    assert items["flaky"]["evidence"] == {
        "runs": 3, "failed": 1, "flaky": 1, "failure_rate": 0.5775, "since_run_id": None, "consecutive_failures": 0,
        "failing_since_run_id": None, "last_passed_run_id": "main_3", "repaired_run_id": None, "outages": 0,
    }  # fmt: skip
    assert items["fixed"]["evidence"] is None
    assert (items["gone"]["run_id"], items["new"]["run_id"]) == ("main_3", "pr")
    listed = await api.get("/v1/results", {"run_id": "pr", "limit": "100"})
    added = {"change", "baseline_status", "quarantine_id", "evidence"}
    expected = {item["id"]: item for item in listed["data"]}
    for item in body["data"]:
        if item["run_id"] == "pr":
            assert {name: value for name, value in item.items() if name not in added} == expected[item["id"]]


async def quarantine(api: Api, **fields: Any) -> str:
    """Create a quarantine of the project shop, and return its ID."""
    body = {"project_id": "shop", "reason": "unstable"} | fields
    response = await api.send("POST", "/v1/quarantines", json=body)
    assert response.status == 201, await response.text()
    return str((await response.json())["id"])


async def test_quarantined_failures_are_listed_with_their_quarantine(api: Api) -> None:
    await api.store.ingest(run("main_1", 1, "a:f b:p c:f"), run("pr", 2, "a:f b:f c:p d:f"))
    await quarantine(api, name="*", project_id="blog")
    assert (await compare(api))["counts"]["quarantined"] == 0
    await quarantine(api, suite="auth.*", name="[ab]")
    assert (await compare(api))["counts"]["quarantined"] == 0
    by_case = await quarantine(api, case=case_public_id(case_key("shop", "a", "", "", 0)))
    by_name = await quarantine(api, suite="auth.*", name="?")
    body = await compare(api)
    assert changes(body)[-1] == ("fixed", "c")
    found = {item["name"]: (item["change"], item["quarantine_id"]) for item in body["data"][:-1]}
    assert found == {name: ("quarantined", by_case if name == "a" else by_name) for name in ("a", "b", "d")}
    evidence = {item["name"]: item["evidence"] for item in body["data"]}
    assert evidence["a"]["failing_since_run_id"] == "main_1"
    assert body["counts"] == NO_CHANGES | {"quarantined": 3, "fixed": 1}
    cursor = (await compare(api, {"limit": "1"}))["next_cursor"]
    assert (await api.send("DELETE", f"/v1/quarantines/{by_case}")).status == 204
    await api.error("/v1/runs/pr/comparison", 400, {"limit": "1", "starting_after": cursor})
    assert (await compare(api))["counts"]["quarantined"] == 3
    async with as_organization(api.resources.pool, api.org_id) as connection:
        await connection.execute("UPDATE quarantines SET expires_at = now() WHERE quarantine_id = $1", by_name)
    assert changes(await compare(api, {"change": "known_failure"})) == [("known_failure", "a")]


async def test_pages_and_filter(api: Api) -> None:
    names = [f"c{number}" for number in range(6)]
    await api.store.ingest(
        run("main_1", 1, " ".join(f"{name}:p" for name in names)),
        run("pr", 2, " ".join(f"{name}:{letter}" for name, letter in zip(names, "fffppp", strict=True)) + " n1:p n2:p"),
    )
    complete = (await compare(api))["data"]
    assert [item["change"] for item in complete] == ["new_failure"] * 3 + ["added"] * 2
    keys = [int(item["case"][5:], 16) for item in complete]
    signed = [key - 2**64 if key >= 2**63 else key for key in keys]
    assert [signed[:3], signed[3:]] == [sorted(signed[:3]), sorted(signed[3:])]
    for limit in ("1", "2", "3", "4"):
        assert await api.list_all("/v1/runs/pr/comparison", {"limit": limit}) == complete
    chosen = [("change", "unchanged"), ("change", "added"), ("limit", "2")]
    listed = await api.list_all("/v1/runs/pr/comparison", chosen)
    assert [item["change"] for item in listed] == ["added"] * 2 + ["unchanged"] * 3
    assert (await compare(api, {"change": "fixed"}))["data"] == []


async def test_run_without_a_baseline_has_only_new_and_added_results(api: Api) -> None:
    await api.store.ingest(run("pr", 4, "a:f b:p c:s"), run("later", 5, "a:f"))
    body = await compare(api)
    assert body["baseline"] is None
    assert body["counts"] == NO_CHANGES | {"new_failure": 1, "added": 2}
    assert body["data"][0]["evidence"]["runs"] == 0


async def test_window_contains_only_baseline_candidates(api: Api) -> None:
    """Each other run would make the failure known."""
    await api.store.ingest(
        run("candidate", 1, "a:p b:f"),
        run("other project", 2, "a:f", project_id="blog"),
        run("other branch", 2, "a:f", branch="topic"),
        run("other environment", 2, "a:f", environment="staging"),
        run("incomplete", 2, "a:f", final=False),
        run("canceled", 2, "a:f", status="canceled"),
        run("not executed", 2, "a:s b:s"),
        run("pr", 3, "a:f", branch="topic", base_branch="main"),
        run("later", 4, "a:f"),
    )
    body = await compare(api)
    assert body["baseline"]["run_id"] == "candidate"
    assert changes(body) == [("new_failure", "a"), ("removed", "b")]
    assert body["data"][0]["evidence"]["runs"] == 1
    await api.store.pool.execute("UPDATE runs SET results_expired = true WHERE run_id = 'candidate'")
    assert (await compare(api))["baseline"] is None


async def test_evidence_comes_from_at_most_100_runs(api: Api) -> None:
    await api.store.ingest(
        *(run(f"main_{hour}", hour, "a:p b:p" if hour > 4 else "a:F b:F") for hour in range(1, 105)),
        run("pr", 130, "a:f b:p"),
    )
    evidence = (await compare(api))["data"][0]["evidence"]
    assert (evidence["runs"], evidence["flaky"], evidence["since_run_id"]) == (100, 0, None)


async def test_failure_of_a_repaired_test_is_new(api: Api) -> None:
    """The window of 20 runs excused it as flaky, because many of its results had failed."""
    await api.store.ingest(
        *(run(f"main_{hour}", hour, "a:f" if 40 < hour <= 48 else "a:p") for hour in range(1, 61)),
        run("pr", 70, "a:f"),
    )
    [item] = (await compare(api))["data"]
    evidence = item["evidence"]
    assert (item["change"], evidence["runs"], evidence["since_run_id"]) == ("new_failure", 12, "main_49")


async def test_failure_after_several_attempts_is_compared_with_final_failures(api: Api) -> None:
    failed_twice: Any = {"status": "failed", "attempts": [{"status": "failed"}, {"status": "failed"}]}
    await api.store.ingest(
        *(run(f"main_{hour}", hour, "a:F b:F" if hour % 2 else "a:p b:p") for hour in range(1, 11)),
        run_event("pr", [result("a", case_id="a", **failed_twice), result("b", case_id="b", status="failed")],
                  branch="main", completed_at="2026-05-01T20:00:00Z"),
    )  # fmt: skip
    assert changes(await compare(api)) == [("new_failure", "a"), ("flaky_failure", "b")]


async def test_outage_is_no_evidence(api: Api) -> None:
    names = [f"c{number}" for number in range(20)]

    def outage(hour: int) -> Any:
        return run(f"outage_{hour}", hour, " ".join(f"{name}:f" for name in names))

    await api.store.ingest(run("main_1", 1, "c0:p c1:p"), outage(2), run("pr", 9, "c0:f"))
    body = await compare(api)
    assert body["baseline"]["run_id"] == "main_1"
    assert [(item["change"], item["evidence"]["outages"]) for item in body["data"][:1]] == [("new_failure", 1)]
    await api.store.ingest(outage(3))
    body = await compare(api)
    assert (body["baseline"]["run_id"], body["data"][0]["change"]) == ("outage_3", "known_failure")


@pytest.mark.parametrize(("examined", "baseline"), [(3, "main_1"), (2, None)])
async def test_number_of_examined_runs_is_limited(
    api: Api, monkeypatch: pytest.MonkeyPatch, examined: int, baseline: str | None
) -> None:
    monkeypatch.setattr(comparison_store, "EXAMINED_RUNS", examined)
    unsuitable = [run(f"main_{hour}", hour, "a:p", final=False) for hour in (2, 3)]
    await api.store.ingest(run("main_1", 1, "a:p"), *unsuitable, run("pr", 9, "a:f"))
    found = (await compare(api))["baseline"]
    assert (found and found["run_id"]) == baseline


async def test_default_branch_of_the_project_is_the_baseline_branch(api: Api) -> None:
    await api.store.ingest(run("trunk_1", 1, "a:f", branch="trunk"), run("main_1", 2, "a:p"), run("pr", 3, "a:f"))
    assert (await compare(api))["baseline"]["run_id"] == "main_1"
    assert (await api.send("PATCH", "/v1/projects/shop", json={"default_branch": "trunk"})).status == 200
    body = await compare(api)
    assert (body["baseline"]["run_id"], changes(body)) == ("trunk_1", [("known_failure", "a")])


async def test_baseline_can_be_a_run_or_a_branch(api: Api) -> None:
    await api.store.ingest(
        run("release_1", 1, "a:f", branch="release"), run("main_1", 2, "a:p"), run("pr", 3, "a:f"),
        run("later", 4, "a:f", branch="main", environment="other"),
    )  # fmt: skip
    assert changes(await compare(api, {"baseline": "window"})) == [("new_failure", "a")]
    assert changes(await compare(api, {"baseline": "branch:release"})) == [("known_failure", "a")]
    body = await compare(api, {"baseline": "run:later"})
    assert (body["baseline"]["run_id"], changes(body)) == ("later", [("known_failure", "a")])
    assert body["data"][0]["evidence"]["runs"] == 1
    assert (await compare(api, {"baseline": "branch:main"}, "main_1"))["baseline"] is None


async def test_unsuitable_baselines_are_rejected(api: Api) -> None:
    await api.store.ingest(
        run("main_1", 1, "a:f"), run("pr", 2, "a:f"), run("open", 1, "a:f", final=False),
        run("blog_1", 1, "a:f", project_id="blog", branch="blog-main"),
    )  # fmt: skip
    await api.make_organization("other")
    await api.store.ingest(run("theirs", 1, "a:f", organization="other", branch="their-branch"))
    bound = (await api.make_key(project_id="shop")).key
    for baseline, expected in {
        "run:pr": (400, "baseline"), "run:open": (400, "baseline"), "run:blog_1": (400, "baseline"),
        "run:none": (404, None), "run:theirs": (404, None), "branch:none": (404, None), "branch:blog-main": (404, None),
        "branch:their-branch": (404, None), "main": (400, "baseline"), "": (400, "baseline"),
    }.items():  # fmt: skip
        assert await error_of(api, baseline) == expected, baseline
    assert await error_of(api, "run:blog_1", bound) == (404, None)
    await api.store.pool.execute("UPDATE runs SET results_expired = true WHERE run_id = 'main_1'")
    assert await error_of(api, "run:main_1") == (400, "baseline")
    assert await error_of(api, "window", run_id="main_1") == (410, None)


async def test_other_organizations_and_projects_do_not_see_the_comparison(api: Api) -> None:
    await api.store.ingest(run("pr", 2, "a:f"))
    _, other = await api.make_organization("other")
    bound = (await api.make_key(project_id="blog")).key
    for key in (other, bound):
        await api.error("/v1/runs/pr/comparison", 404, key=key)
    await api.error("/v1/runs/none/comparison", 404)
    assert (await compare(api, key=(await api.make_key("viewer", project_id="shop")).key))["run_id"] == "pr"
    error = await api.error("/v1/runs/pr/comparison", 400, {"change": "broken"})
    assert error["param"] == "change"


async def test_cursor_ends_when_a_run_changes(api: Api) -> None:
    await api.store.ingest(run("main_1", 1, "a:p b:p"), run("pr", 2, "a:f b:f"))
    cursor = (await compare(api, {"limit": "1"}))["next_cursor"]
    params = {"limit": "1", "starting_after": cursor}
    assert len((await compare(api, params))["data"]) == 1
    other_filter = await api.error("/v1/runs/pr/comparison", 400, params | {"change": "new_failure"})
    assert other_filter["message"] == "starting_after: not a cursor of this list with these filters"
    for late in (run("main_1", 1, "c:p"), run("pr", 2, "c:p")):
        await api.store.ingest(late)
        error = await api.error("/v1/runs/pr/comparison", 400, params)
        assert (error["param"], error["message"]) == (
            "starting_after",
            "starting_after: the comparison has changed, start again",
        )
        params["starting_after"] = (await compare(api, {"limit": "1"}))["next_cursor"]


async def test_late_shards_and_corrections_change_the_comparison(api: Api) -> None:
    await api.store.ingest(run("main_1", 1, "a:p"), run("pr", 2, "a:f"))
    assert (await compare(api))["counts"]["new_failure"] == 1
    await api.store.ingest(run("main_1", 1, "a:f", time="2026-05-20T13:00:00Z"))
    assert changes(await compare(api)) == [("known_failure", "a")]
    await api.store.ingest(run("pr", 2, "a:p", time="2026-05-20T13:00:00Z"))
    assert changes(await compare(api)) == [("fixed", "a")]


async def test_cases_over_the_limit_are_compared_with_the_baseline_only(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted("abcd", key=lambda name: case_key("shop", name, "", "", 0))
    await api.store.ingest(
        run("main_1", 1, "a:F b:F c:F d:F"), run("main_2", 2, "a:F b:F c:F d:F"), run("main_3", 3, "a:p b:p c:p d:p"),
        run("pr", 4, "a:f b:f c:f d:f"),
    )  # fmt: skip
    monkeypatch.setattr(compare_runs, "MAX_SEARCHED_CASES", 3)
    body = await compare(api)
    assert body["truncated"] is True
    found = {item["name"]: item for item in body["data"]}
    assert [found[name]["change"] for name in names] == ["flaky_failure"] * 3 + ["new_failure"]
    last = found[names[-1]]
    assert (last["baseline_status"], last["evidence"]) == ("passed", None)
    assert last["case"] == case_public_id(case_key("shop", names[-1], "", "", 0))


async def test_large_runs_have_no_counts_of_other_changes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.store.ingest(run("main_1", 1, "a:p b:p c:p"), run("pr", 2, "a:f"))
    monkeypatch.setattr(compare_runs, "MAX_COMPARED_RESULTS", 2)
    body = await compare(api)
    assert body["counts"] == NO_CHANGES | {
        "new_failure": 1, "fixed": None, "added": None, "removed": None, "unchanged": None,
    }  # fmt: skip
    assert changes(body) == [("new_failure", "a")]
    monkeypatch.setattr(compare_runs, "MAX_COMPARED_RESULTS", 3)
    assert (await compare(api))["counts"]["removed"] == 2


async def test_variants_of_a_test_are_different_cases(api: Api) -> None:
    linux: Any = {"variant": {"os": "linux"}}
    macos: Any = {"variant": {"os": "macos"}}
    await api.store.ingest(
        run_event("main_1", [result(status="failed", **linux), result(**macos)], branch="main",
                  completed_at="2026-05-01T01:00:00Z"),
        run_event("pr", [result(status="failed", **linux), result(status="failed", **macos)], branch="main",
                  completed_at="2026-05-01T02:00:00Z"),
    )  # fmt: skip
    body = await compare(api)
    assert [(item["change"], item["variant"]["os"]) for item in body["data"]] == [
        ("new_failure", "macos"), ("known_failure", "linux"),
    ]  # fmt: skip
