"""What a run lacks, which a response states first: results that aren't there are no passed results."""

from typing import Final

from service.client.http import JsonObject
from service.domain.evidence import describe_missing_parts
from service.domain.receipts import describe_part, is_unfinished
from service.mcp.documents import untrusted

_MAX_JOBS: Final = 10
_MAX_NAMES: Final = 600  # characters of the JSON


def missing_of_run(run: JsonObject) -> list[str]:
    """Return what the run itself states about missing results."""
    statements = []
    if not run["complete"]:
        statements.append("The run isn't complete: further results can arrive")
    if run["failures_missing"]:
        statements.append("A report declares failures that it doesn't contain")
    if run["results_expired"]:
        statements.append("The results are older than the retention and were deleted")
    return statements


def missing_of_comparison(run: JsonObject, comparison: JsonObject | None, receipts: list[JsonObject]) -> JsonObject:
    """Return everything that the run lacks, with the names of the jobs that sent no results. `statements` can be empty.

    `comparison` is None if the results have expired.
    """
    parts = comparison["missing_parts"] if comparison else []
    cases = comparison["missing_cases"] if comparison else 0
    statements = [_count_jobs(parts, run)] if parts else []
    statements += missing_of_run(run)
    if unfinished := sum(map(is_unfinished, receipts)):
        statements.append(f"Reports that aren't processed yet: {unfinished}")
    if cases:
        statements.append(f"Cases that the baseline executed and the other jobs of this run lack: {cases}")
    names = "; ".join(describe_part(part, unnamed="a job without a name") for part in parts[:_MAX_JOBS])
    return {"statements": statements, **(untrusted({"jobs": names}, jobs=_MAX_NAMES) if parts else {})}


def _count_jobs(parts: list[JsonObject], run: JsonObject) -> str:
    """Return the first words of the sentence that other views show. It names no job, because names are untrusted."""
    sentence = describe_missing_parts(parts, run["parts"]) or ""
    return sentence.partition(":")[0]
