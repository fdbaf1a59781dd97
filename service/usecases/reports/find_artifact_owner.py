"""The result of a run to which a client attributes an uploaded file."""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from service.domain.errors import Conflict, InvalidRequest, NotFound
from service.domain.ids import RUN_ITSELF, CaseKey, RunKey, parse_case_id
from service.domain.keys import Caller
from service.store.postgres.database import Connection
from service.store.queries import artifacts
from service.store.queries.artifacts import OwnerRun
from service.usecases.lists.find_run import select_run

# Returns the result that a file belongs to, or the run (RUN_ITSELF). Raises NotFound or Conflict.
FindOwner = Callable[[Connection], Awaitable[tuple[RunKey, CaseKey]]]


class CaseSelector(NamedTuple):
    """A case of a run: by its ID, or by suite, name, and variant. If nothing is set, the run itself is selected."""

    case: str | None = None
    suite: str | None = None
    name: str | None = None
    variant: Mapping[str, str] = {}


async def find_artifact_owner(
    connection: Connection, caller: Caller, run_id: str, selector: CaseSelector
) -> tuple[RunKey, CaseKey]:
    """Return the key of the result, or that of the run and RUN_ITSELF.

    Raises NotFound if the caller can't see it, InvalidRequest for an incomplete selector, and Conflict if several
    results match.
    """
    run = await artifacts.find_owner_run(connection, caller.org_id, select_run(caller, run_id))
    if run is None:
        raise NotFound(
            f"run {run_id[:100]!r} not found, or its results have expired. Upload a report of the run first, and wait"
            " until its receipt is stored"
        )
    if selector.case is not None:
        return run.run_key, await _check_case(connection, caller, run, selector.case)
    suite, name, variant = selector.suite, selector.name, selector.variant
    if name is not None and suite is not None:
        return run.run_key, await _find_by_name(connection, caller, run, suite, name, variant)
    if name is not None or suite is not None or variant:
        missing = "name" if name is None else "suite"
        raise InvalidRequest(f"{missing}: is required, because suite, name, and variant state a result", missing)
    return run.run_key, RUN_ITSELF


async def _check_case(connection: Connection, caller: Caller, run: OwnerRun, case: str) -> CaseKey:
    key = parse_case_id(case)
    if key is None or not await artifacts.result_exists(
        connection, caller.org_id, (run.run_key, key), caller.project_id
    ):
        raise NotFound(f"case: the run has no result of {case[:100]!r}")
    return key


async def _find_by_name(
    connection: Connection, caller: Caller, run: OwnerRun, suite: str, name: str, variant: Mapping[str, str]
) -> CaseKey:
    """Return the only case with this suite and name that has all pairs of the variant, or exactly these pairs."""
    found = await artifacts.find_cases(connection, caller.org_id, run, suite, name, dict(variant))
    exact = [case for case in found if case.variant == variant]
    chosen = exact if len(exact) == 1 else found
    if not chosen:
        raise NotFound(f"name: the run has no result with the suite {suite[:100]!r} and the name {name[:100]!r}")
    if len(chosen) > 1:
        raise Conflict(f"name: {len(chosen)} results have this suite and name. State the variant, or the case")
    return chosen[0].case_key
