"""The comparison of a run and what the run lacks, in words, for the command line, comments, and the console.

`quote` marks the text of producers and users in a sentence, so that Markdown in it has no meaning in a comment.
This module runs on Python 3.10 without third-party packages because the client uses it.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from service.domain.receipts import describe_part
from service.domain.texts import Quote

_COMMIT: Final = 10  # digits of a commit that are shown
_MAX_PARTS: Final = 10  # missing parts that are named
_MAX_RANGES: Final = 10  # of missing shards that are named
_MIN_RANGE: Final = 3  # shards that are named as a range


def full_name(result: Mapping[str, Any]) -> str:
    """Return the name of a result with its suite and variant."""
    variant = describe_variant(result)
    named = " > ".join(filter(None, (result["suite"], result["name"])))
    return f"{named} [{variant}]" if variant else named


def describe_variant(result: Mapping[str, Any]) -> str:
    """Return the pairs of the variant of a result, or an empty text."""
    return ", ".join(f"{name}: {value}" for name, value in result["variant"].items())


def describe_baseline(baseline: Mapping[str, Any] | None, quote: Quote = str) -> str:
    """Return which run a run was compared with. None means that there is no such run."""
    if baseline is None:
        return "not compared: there is no earlier complete run on the base branch"
    parts = [f"compared with run {quote(baseline['run_id'])}"]
    if baseline["branch"]:
        parts.append(f"on {quote(baseline['branch'])}")
    if baseline["commit_sha"]:
        parts.append(f"at commit {quote(baseline['commit_sha'][:_COMMIT])}")
    return " ".join(parts)


def describe_evidence(evidence: Mapping[str, Any], branch: str | None, quote: Quote = str) -> str:
    """Return the results of a case in the compared runs that executed it, which are on this branch."""
    on_branch = f" on {quote(branch)}" if branch else ""
    runs, failed, flaky = evidence["runs"], evidence["failed"], evidence["flaky"]
    if not runs:
        return f"not executed in the compared runs{on_branch}"
    first = quote(evidence["failing_since_run_id"] or "")
    if failed == runs:
        return f"also failed in {_last(runs)}{on_branch}" + (f", since run {first}" if first else "")
    if not (failed or flaky):
        return f"passed in {_last(runs)}{on_branch}"
    kinds = [f"failed in {failed}"] if failed else []
    kinds += [f"was flaky in {flaky}"] if flaky else []
    return f"{' and '.join(kinds)} of {_last(runs)}{on_branch}" + (f", failing since run {first}" if first else "")


def describe_missing_parts(
    missing: Sequence[Mapping[str, Any]],
    present: Sequence[Mapping[str, Any]],
    canceled: Collection[str] = (),
    quote: Quote = str,
) -> str | None:
    """Return which of the parts of a run sent no results, or None if no part is missing. Names the canceled jobs."""
    if not missing:
        return None
    listed = "; ".join(_describe_missing_part(part, canceled, quote) for part in missing[:_MAX_PARTS])
    more = f"; and {len(missing) - _MAX_PARTS} more" if len(missing) > _MAX_PARTS else ""
    total = len(missing) + sum(1 for part in present if not any(_is_same_part(part, other) for other in missing))
    return f"{len(missing)} of {total} {'job' if total == 1 else 'jobs'} sent no results: {listed}{more}"


def _is_same_part(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return all(first[name] == second[name] for name in ("part", "variant", "shard"))


def _describe_missing_part(part: Mapping[str, Any], canceled: Collection[str], quote: Quote) -> str:
    notes = ["canceled"] if part.get("part") in canceled else []
    notes += ["allowed"] if part.get("allowed") else []
    return describe_part(part, notes, "a job without a name", quote)


def describe_expected(
    expected_shards: int | None, arrived_shards: Collection[int], expected_results: int | None, results: int
) -> str | None:
    """Return which of the shards or results that complete a run are missing, or None if the run states neither."""
    if expected_shards is None:
        return None if expected_results is None else f"{results:,} of {expected_results:,} results arrived"
    missing = find_missing_shards(expected_shards, arrived_shards)
    count = sum(map(len, missing))
    arrived = f"{expected_shards - count:,} of {expected_shards:,} shards arrived"
    if count < 2:
        return f"{arrived}. Shard {missing[0][0]} is missing" if missing else arrived
    named: list[str] = []
    for numbers in missing[:_MAX_RANGES]:
        named += map(str, numbers) if len(numbers) < _MIN_RANGE else [f"{numbers[0]} to {numbers[-1]}"]
    if others := sum(map(len, missing[_MAX_RANGES:])):
        named.append(f"{others:,} others")
    *first, last = named
    listed = f"{', '.join(first)}{',' * (len(first) > 1)} and {last}" if first else last
    return f"{arrived}. Shards {listed} are missing"


def find_missing_shards(expected: int, arrived: Collection[int]) -> list[range]:
    """Return the numbers from 1 to `expected` that haven't arrived, as ranges in ascending order."""
    edges = [0, *sorted(number for number in set(arrived) if number <= expected), expected + 1]
    return [range(before + 1, after) for before, after in pairwise(edges) if after - before > 1]


def describe_quarantine(quarantine: Mapping[str, Any], quote: Quote = str) -> str:
    """Return why and until when a quarantine excuses failures."""
    parts = [f"quarantined until {quarantine['expires_at'][:10]}: {quote(quarantine['reason'])}"]
    if quarantine["owner"]:
        parts.append(f"owner {quote(quarantine['owner'])}")
    if quarantine["ticket_url"]:
        parts.append(quote(quarantine["ticket_url"]))
    return ", ".join(parts)


def _last(runs: int) -> str:
    return "its last run" if runs == 1 else f"its last {runs} runs"
