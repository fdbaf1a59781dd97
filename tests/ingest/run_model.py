"""A naive model of a run: the outcome of a set of events by the rules, without the code of the service.

A part is a job, a variant, and a shard. In a part, the highest attempt that executed a case decides, and all its
executions count. Between parts, the worst result decides.
"""

from typing import Any, Final, NamedTuple

SEVERITY: Final = ("passed", "skipped", "canceled", "failed", "error")
FAILING: Final = ("failed", "error")

Event = dict[str, Any]
PartKey = tuple[str, str, int]


class Execution(NamedTuple):
    """One attempt of a case, and the rank of the attempt of its job, or None."""

    status: str
    message: str | None
    job_attempt: int | None


class ModelResult(NamedTuple):
    status: str
    flaky: bool
    duration_ms: int
    executions: tuple[Execution, ...]
    files: tuple[str, ...]


class ModelRun(NamedTuple):
    status: str
    complete: bool
    failures_missing: bool
    results: dict[str, ModelResult]
    parts: dict[PartKey, set[int]]


def part_of(event: Event) -> PartKey:
    return event.get("part") or "", (event.get("variant") or {}).get("os", ""), event.get("shard") or 0


def second_of(event: Event) -> str:
    return str(event["time"])[:19]


def model(events: list[Event]) -> ModelRun:
    names = sorted({result["name"] for event in events for result in event["results"]})
    results = {name: result_of(events, name) for name in names}
    parts: dict[PartKey, set[int]] = {}
    for event in events:
        parts.setdefault(part_of(event), set()).add(event.get("attempt") or 0)
    missing = any(is_missing(of_part(events, part)) for part in parts)
    complete = is_complete(events, len(names))
    return ModelRun(run_status(events, results, parts, missing, complete), complete, missing, results, parts)


def of_part(events: list[Event], part: PartKey) -> list[Event]:
    return [event for event in events if part_of(event) == part]


def result_of(events: list[Event], name: str) -> ModelResult:
    """Return the result of a case: the worst of all parts, of equal ones that of the first part."""
    candidates = []
    for part in sorted({part_of(event) for event in events}):
        found = result_of_part(of_part(events, part), name)
        if found is not None:
            candidates.append(found)
    return sorted(candidates, key=badness, reverse=True)[0]


def result_of_part(events: list[Event], name: str) -> ModelResult | None:
    ranks = sorted({event["attempt"] for event in events if "attempt" in event})
    by_attempt: dict[int, list[tuple[str, ModelResult]]] = {}
    for event in events:
        for result in event["results"]:
            if result["name"] == name:
                attempt = event.get("attempt") or 0
                job_attempt = ranks.index(attempt) + 1 if attempt else None
                by_attempt.setdefault(attempt, []).append((second_of(event), single(result, job_attempt)))
    chosen = [choose(by_attempt[attempt], attempt) for attempt in sorted(by_attempt)]
    if not chosen:
        return None
    chosen = [result for result in chosen if result.status in ("passed", *FAILING)] or chosen
    executions = tuple(execution for result in chosen for execution in result.executions)
    last = chosen[-1]
    flaky = last.status == "passed" and any(execution.status in FAILING for execution in executions)
    files = tuple(sorted(unique_names([result.files for result in chosen])))
    return ModelResult(last.status, flaky, last.duration_ms, executions, files)


def choose(candidates: list[tuple[str, ModelResult]], attempt: int) -> ModelResult:
    """Return the result of one attempt: the worst one, or without an attempt, the worst one of the newest second."""
    newest = max(second for second, _ in candidates)
    return max((result for second, result in candidates if attempt or second == newest), key=badness)


def single(result: Any, job_attempt: int | None) -> ModelResult:
    failure = result.get("failure") or {}
    listed = result.get("attempts") or [{"status": result["status"], "failure": failure}]
    executions = [Execution(each["status"], (each.get("failure") or {}).get("message"), job_attempt) for each in listed]
    flaky = result["status"] == "passed" and any(each.status in FAILING for each in executions)
    duration = -1 if result["duration_ms"] is None else result["duration_ms"]
    files = tuple(artifact["name"] for artifact in result.get("artifacts") or ())
    return ModelResult(result["status"], flaky, duration, tuple(executions), files)


def unique_names(files: list[tuple[str, ...]]) -> set[str]:
    names: set[str] = set()
    for number, each in enumerate(files, start=1):
        names |= {f"{name[:-4]} (attempt {number}){name[-4:]}" if name in names else name for name in each}
    return names


def badness(result: ModelResult) -> tuple[Any, ...]:
    message = result.executions[-1].message or ""
    return SEVERITY.index(result.status), result.flaky, result.duration_ms, len(result.executions), message


def is_complete(events: list[Event], results: int) -> bool:
    if any(event.get("final") for event in events):
        return True
    shards = [event["expected_shards"] for event in events if "expected_shards" in event]
    if shards:
        return bool(len({event["shard"] for event in events if event.get("shard")}) >= max(shards))
    expected = [event["expected_results"] for event in events if "expected_results" in event]
    if expected and results >= max(expected):
        return True
    return any("final" not in event and "expected_results" not in event for event in events)


def deciding_versions(events: list[Event]) -> list[tuple[bool, int]]:
    """Return whether failures are missing, and the rank of the stated status, for the highest attempt of a part."""
    highest = max(event.get("attempt") or 0 for event in events)
    newest = [event for event in events if (event.get("attempt") or 0) == highest]
    stated = [(second_of(event), lacks_failures(event), rank(event.get("status"))) for event in newest]
    if not highest:
        return [max(stated)[1:]]
    return [(any(each[1] for each in stated), max(each[2] for each in stated))]


def is_missing(events: list[Event]) -> bool:
    return any(missing for missing, _ in deciding_versions(events))


def lacks_failures(event: Event) -> bool:
    return event.get("status") in FAILING and not any(result["status"] in FAILING for result in event["results"])


def rank(status: str | None) -> int:
    return SEVERITY.index(status) + 1 if status else 0


def run_status(
    events: list[Event], results: dict[str, ModelResult], parts: dict[PartKey, set[int]], missing: bool, complete: bool
) -> str:
    if missing:
        return "error"
    if (stated := stated_status(events)) is not None:
        return stated
    of_parts = [r for part in parts for _, r in deciding_versions(of_part(events, part)) if r]
    if not of_parts and complete and not results and 0 not in [event.get("expected_results") for event in events]:
        return "error"
    worst = [SEVERITY.index(result.status) for result in results.values() if result.status != "skipped"]
    return SEVERITY[max([0, *worst, *(r - 1 for r in of_parts)])]


def stated_status(events: list[Event]) -> str | None:
    """Return the status that an event of the entire run states, if it is newer than all other events."""
    entire = [event for event in events if sent_at_once(event)]
    if not entire:
        return None
    newest = max((second_of(event), rank(event.get("status"))) for event in entire)
    if not newest[1]:
        return None
    same_part = [event for event in events if part_of(event) == ("", "", 0) and not event.get("attempt")]
    second, _, stated = max((second_of(e), lacks_failures(e), rank(e.get("status"))) for e in same_part)
    others = [event for event in events if event not in same_part]
    if (second, stated) != newest or any(second_of(event) >= second for event in others):
        return None
    return SEVERITY[stated - 1]


def sent_at_once(event: Event) -> bool:
    names = ("part", "attempt", "variant", "shard", "final", "expected_results")
    return not any(event.get(name) is not None for name in names)
