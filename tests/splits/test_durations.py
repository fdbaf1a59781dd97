"""The durations of a plan: the 75th percentile of each item in the newest runs of the default branch."""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from service.database.database import as_organization
from service.splits import store
from service.splits.contract import SplitIn
from service.splits.store import SplitRef
from tests.run_events import result, run_event
from tests.served import Api

MAIN = {"branch": "main"}


async def durations(api: Api, items: Sequence[str], path_prefix: str = "", **fields: Any) -> dict[str, int]:
    """Return the durations in ms that a plan of one part per item predicts. Items without one are absent."""
    body = {"project_id": "shop", "total": len(items), "items": items, "path_prefix": path_prefix, **fields}
    split, ref = SplitIn(**body), SplitRef(api.org_id, "shop", "unit", "", "")
    names = [item if fields.get("unit") == "case" else f"{path_prefix}{item}" for item in items]
    async with as_organization(api.resources.pool, api.org_id) as connection:
        return await store.find_durations(connection, ref, split, names)


def of_file(file: str, duration_ms: float | None, **fields: Any) -> dict[str, Any]:
    name = fields.pop("name", "works")
    return result(name, suite=f"suite of {file}", file=file, duration_ms=duration_ms, **fields)


async def ingest(api: Api, number: int, results: Sequence[Any], **run: Any) -> None:
    stored = run_event(f"run_{number}", list(results), completed_at=f"2026-05-20T{number % 24:02}:00:00Z", **MAIN | run)
    assert [outcome.status for outcome in await api.store.ingest(stored)] == ["stored"]


def p75(values: Sequence[int]) -> int:
    return sorted(values)[math.ceil(0.75 * len(values)) - 1]


@pytest.mark.parametrize("seed", range(3))
async def test_durations_are_the_75th_percentiles_of_the_sums_per_run(api: Api, seed: int) -> None:
    chosen = random.Random(seed)
    files = [f"tests/test_{number}.py" for number in range(12)]
    by_file: dict[str, list[int]] = defaultdict(list)
    by_case: dict[str, list[int]] = defaultdict(list)
    for number in range(chosen.randrange(8, 21)):
        results, sums = [], dict[str, int]()
        for file in chosen.sample(files, chosen.randrange(1, 12)):
            for case in range(chosen.randrange(1, 4)):
                duration_ms = chosen.choice([None, 0, chosen.randrange(100_000)])
                results.append(of_file(file, duration_ms, name=f"case {case}"))
                if duration_ms is not None:
                    sums[file] = sums.get(file, 0) + duration_ms
                    by_case[f"suite of {file} > case {case}"].append(duration_ms)
        await ingest(api, number, results)
        for file, total in sums.items():
            by_file[file].append(total)
    assert await durations(api, files) == {file: p75(times) for file, times in by_file.items()}
    cases = [f"suite of {file} > case {case}" for file in files for case in range(3)]
    assert await durations(api, cases, unit="case") == {case: p75(times) for case, times in by_case.items()}


async def test_plan_predicts_with_the_durations(api: Api) -> None:
    for number in range(4):
        await ingest(api, number, [of_file("web/a.py", 100 + number), of_file("web/b.py", 60), of_file("web/c.py", 50)])
    body = {"project_id": "shop", "total": 2, "path_prefix": "web", "items": ["c.py", "./b.py", "a.py", "new.py"]}
    response = await api.send("PUT", "/v1/splits/unit", json=body)
    planned = await response.json()
    assert response.status == 201, planned
    assert planned["parts"] == [
        {"index": 1, "items": ["a.py", "c.py"], "predicted_ms": 152},
        {"index": 2, "items": ["./b.py", "new.py"], "predicted_ms": 120},
    ]
    assert planned["unknown_items"] == 1
    assert planned["gain_ms"] == 162 - 152  # ./b.py and c.py, and a.py and new.py


async def test_only_the_newest_20_candidates_of_the_default_branch_count(api: Api) -> None:
    at = {"completed_at": "2026-05-19T00:00:00Z"}
    for number in range(100, 105):
        stored = run_event(f"run_{number}", [of_file("a.py", 9_000)], **MAIN, **at)
        await api.store.ingest(stored)
    assert await durations(api, ["a.py"]) == {"a.py": 9_000}
    for number in range(20):
        await ingest(api, number, [of_file("a.py", 10)])
    assert await durations(api, ["a.py"]) == {"a.py": 10}
    others: Sequence[dict[str, Any]] = (
        {"branch": "fix"}, {"expected_results": 9}, {"status": "canceled"}, {"project_id": "blog"},
    )  # fmt: skip
    for kind, other in enumerate(others):
        newer = {"completed_at": "2026-05-21T00:00:00Z"} | MAIN | other
        events = [run_event(f"other_{kind}_{n}", [of_file("a.py", 7_000)], **newer) for n in range(20)]
        await api.store.ingest(*events)
        assert await durations(api, ["a.py"]) == {"a.py": 10}, other
    await api.store.pool.execute("UPDATE runs SET trusted = false WHERE run_id LIKE 'run_1_'")
    assert await durations(api, ["a.py"]) == {"a.py": 9_000}  # of 5 among 15 runs


async def test_older_runs_are_not_read_after_the_limit_of_results(api: Api) -> None:
    for number in range(3):
        await ingest(api, number, [of_file("a.py", 100 * (3 - number))])
    assert await durations(api, ["a.py"]) == {"a.py": 300}
    await api.store.pool.execute("UPDATE runs SET passed = 199_999 WHERE run_id = 'run_2'")
    assert await durations(api, ["a.py"]) == {"a.py": 200}  # the second run begins before the limit
    await api.store.pool.execute("UPDATE runs SET passed = 200_000 WHERE run_id = 'run_2'")
    assert await durations(api, ["a.py"]) == {"a.py": 100}


async def test_results_of_other_variants_do_not_count(api: Api) -> None:
    matrix = ({"os": "linux", "db": "pg"}, 10), ({"os": "linux", "db": "lite"}, 20), ({"os": "mac"}, 500)
    await ingest(api, 1, [of_file("a.py", time, variant=variant) for variant, time in matrix])
    assert await durations(api, ["a.py"], variant={"os": "linux"}) == {"a.py": 30}
    assert await durations(api, ["a.py"], variant={"os": "linux", "db": "pg"}) == {"a.py": 10}
    assert await durations(api, ["a.py"], variant={"os": "windows"}) == {}
    assert await durations(api, ["a.py"]) == {"a.py": 530}


async def test_case_without_a_suite_has_its_name(api: Api) -> None:
    await ingest(api, 1, [result("alone", suite="", duration_ms=7), result("alone", suite="a > b", duration_ms=9)])
    found = await durations(api, ["alone", "a > b > alone", "a > b", " > alone"], unit="case")
    assert found == {"alone": 7, "a > b > alone": 9}


async def test_other_organizations_and_projects_have_other_durations(api: Api) -> None:
    await ingest(api, 1, [of_file("a.py", 10)], project_id="blog")
    await api.make_organization("other")
    await api.store.ingest(run_event("run_2", [of_file("a.py", 20)], organization="other", **MAIN))
    assert await durations(api, ["a.py"]) == {}
    response = await api.send("PUT", "/v1/splits/u", json={"project_id": "shop", "total": 1, "items": ["a.py"]})
    assert (await response.json())["parts"][0]["predicted_ms"] is None
