"""The parts and cases that a run lacks compared with its baseline and window."""

from collections.abc import Sequence

from service.domain.comparison import MAX_COMPARED_RESULTS
from service.domain.ids import OrgId, RunKey
from service.domain.missing import MAX_LISTED_CASES, NOTHING_MISSING, MissingResults, find_absent
from service.domain.parts import PartIdentity
from service.store import missing, run_parts
from service.store.missing import ComparedKeys, RemovedCases
from service.store.postgres.database import Connection
from service.store.queries import comparison as read_comparison
from service.store.queries.comparison import ComparedRun
from service.store.run_parts import AcceptedPart


async def find_missing(
    connection: Connection, org_id: OrgId, run: ComparedRun, window: Sequence[ComparedRun], baseline: ComparedRun | None
) -> MissingResults:
    """Return what a run lacks. All statements must read one snapshot.

    A part is missing if the run should contain it, no upload of it was accepted, and a case that it executed in the
    baseline has no result. The last condition isn't checked, and no cases are counted, if a run is too large.
    """
    if baseline is None:
        return NOTHING_MISSING
    parts = await run_parts.find_parts(connection, org_id, [run.run_key, *(each.run_key for each in window)])
    absent = _find_absent(parts, run.run_key, baseline.run_key, [each.run_key for each in window])
    if max(run.counts.total, baseline.counts.total) > MAX_COMPARED_RESULTS:
        return MissingResults(sorted(absent), None)
    removed = await missing.find_removed(connection, ComparedKeys(org_id, run.run_key, baseline.run_key))
    numbers = {part.number: part.part.identity for part in parts if part.run_key == baseline.run_key}
    lacking = absent & {numbers[number] for each in removed for number in each.numbers if number in numbers}
    of_present = [each for each in removed if not _are_missing(each, numbers, lacking)]
    first = sorted(case for each in of_present for case in each.first)[:MAX_LISTED_CASES]
    texts = await read_comparison.find_texts(connection, org_id, first) if first else []
    return MissingResults(sorted(lacking), sum(each.cases for each in of_present), texts)


def _find_absent(
    parts: Sequence[AcceptedPart], run: RunKey, baseline: RunKey, window: Sequence[RunKey]
) -> set[PartIdentity]:
    """Return the parts that the run should contain, and of which no upload was accepted."""
    with_results: dict[RunKey, set[PartIdentity]] = {key: set() for key in window}
    accepted: set[PartIdentity] = set()
    for stored in parts:
        if stored.run_key == run:
            accepted.add(stored.part.identity)
        elif stored.has_results:
            with_results[stored.run_key].add(stored.part.identity)
    return find_absent(accepted, with_results[baseline], list(with_results.values()))


def _are_missing(removed: RemovedCases, numbers: dict[int, PartIdentity], lacking: set[PartIdentity]) -> bool:
    """Return whether only missing parts executed the cases."""
    return all(numbers.get(number) in lacking for number in removed.numbers)
