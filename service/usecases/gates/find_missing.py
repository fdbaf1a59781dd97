"""The parts and cases that a run lacks compared with its baseline and window."""

from collections.abc import Sequence

from service.domain.comparison import MAX_COMPARED_RESULTS, ComparedRun
from service.domain.ids import OrgId
from service.domain.missing import MAX_LISTED_CASES, NOTHING_MISSING, MissingResults, find_absent
from service.domain.parts import PartIdentity
from service.store import missing
from service.store.missing import ComparedKeys, RemovedCases
from service.store.postgres.database import Connection
from service.store.queries import comparison as read_comparison


async def find_missing(
    connection: Connection, org_id: OrgId, run: ComparedRun, window: Sequence[ComparedRun], baseline: ComparedRun | None
) -> MissingResults:
    """Return what a run lacks. All statements must read one snapshot.

    A part is missing if the run should contain it, none of its uploads has results or states that none are expected,
    and a case that it executed in the baseline has no result. The last condition isn't checked, and no cases are
    counted, if a run is too large.
    """
    if baseline is None:
        return NOTHING_MISSING
    keys = ComparedKeys(org_id, run.run_key, baseline.run_key)
    parts = await missing.find_parts(connection, keys, [each.run_key for each in window])
    absent = find_absent(parts, len(window), sent_at_once=run.sent_at_once)
    if max(run.counts.total, baseline.counts.total) > MAX_COMPARED_RESULTS:
        return MissingResults(sorted(absent), None)
    removed = await missing.find_removed(connection, keys)
    numbers = {number: part.identity for part in parts for number in part.numbers}
    lacking = absent & {numbers[number] for each in removed for number in each.numbers if number in numbers}
    of_present = [each for each in removed if not _are_missing(each, numbers, lacking)]
    first = sorted(case for each in of_present for case in each.first)[:MAX_LISTED_CASES]
    texts = await read_comparison.find_texts(connection, org_id, first) if first else []
    return MissingResults(sorted(lacking), sum(each.cases for each in of_present), texts)


def _are_missing(removed: RemovedCases, numbers: dict[int, PartIdentity], lacking: set[PartIdentity]) -> bool:
    """Return whether only missing parts executed the cases."""
    return all(numbers.get(number) in lacking for number in removed.numbers)
