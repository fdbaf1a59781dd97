"""Cases. Trusted cases are deleted only with their project; a process knows only trusted cases.

Each transaction that changes the texts of stored cases also increments the version of the cases of their organizations.
A process that reads the version first, and the stored cases afterwards, knows them until the version changes.

A process of version 0.9.0 doesn't increment the version. If it changes a case while other processes have the new
version, they can know the earlier texts until they are replaced or another case of the organization changes.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import orjson

from service.cases.model import MAX_FILTERED_CASES, Case, CaseRow, CasesVersion, OwnerRow, RankedCases, RunRanking
from service.database.database import Connection, Row, incarnation_of
from service.database.engines import engine_of
from service.database.errors import RowDeleted
from service.database.pages import RowPage, cut_page, fetch_requested, filter_values
from service.database.statements import MAX_READ_ROWS, PROBE_BUDGET, SEARCHED_CASES, Statement, compose, statements
from service.database.transactions import limit_lock_wait, lock_wait
from service.domain.codeowners import MAX_OWNERS_OF_ORGANIZATION
from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, OrgId
from service.domain.statuses import STATE_VALUES
from service.domain.variants import canonical_variant
from service.identity.producers.model import Registration, Registrations
from service.retention.organization_store import prevent_deletion
from service.runs.model import UNTRUSTED_LIFETIME

_SQL: Final = statements("cases")
_NO_VARIANT: Final = "{}"

CaseKeyRef = tuple[OrgId, CaseKey]

_FIELDS: Final = len(CaseRow._fields) - 1  # without the state
MAX_LOOKED_UP: Final = 1_000  # cases of an owner that a list sorts: each takes 10 times as long as a comparison
MAX_HASHED: Final = MAX_READ_ROWS  # cases of an owner that a ranking compares with as many results
_WILDCARD: Final = re.compile(r"[%_\\]")  # of LIKE
_ESCAPED: Final = r"\\\g<0>"


class StoredCase(NamedTuple):
    """A stored case. `trusted` is false if only untrusted and promoted runs contain it."""

    case: Case
    trusted: bool


class ServerState(NamedTuple):
    """The state of the server: if `incarnation` or `files` changes, committed rows can be missing.

    A failover changes `incarnation`. A restored backup and TRUNCATE change `files`, which names the files of the tables
    of cases, organizations, and projects. `now` is the time of the server. `versions` are those of the cases of the
    requested organizations that exist. `producers` are the registrations of the requested RabbitMQ users.
    """

    incarnation: str
    files: str
    now: datetime
    versions: Mapping[OrgId, CasesVersion]
    producers: Registrations


async def find_server_state(
    connection: Connection, org_ids: Collection[OrgId], users: Collection[str] = ()
) -> ServerState:
    """Return the state of the server that this connection uses, with what it has of organizations and producers."""
    row = await compose("server_state").fetch_row(connection, {"org_ids": list(org_ids), "users": list(users)})
    found = orjson.loads(row["versions"] or "{}")
    versions = {OrgId(int(org_id)): CasesVersion(*version) for org_id, version in found.items()}
    producers: dict[str, list[Registration]] = {}
    for user, org_id, project_id in orjson.loads(row["producers"] or "[]"):
        producers.setdefault(user, []).append(Registration(OrgId(org_id), project_id))
    return ServerState(incarnation_of(connection), row["files"], row["now"], versions, producers)


async def prevent_replacement(connection: Connection, files: str, lock_wait_s: float) -> None:
    """Prevent the replacement of the cases until the end of the transaction, whose waits for locks are limited.

    Raises RowDeleted if TRUNCATE or a restored backup has replaced them since `files` was read. Not on Citus.
    """
    if engine_of(connection).is_distributed:
        await limit_lock_wait(connection, lock_wait_s)
        return
    current = compose("files_of_cached_tables").text
    found = await connection.execute(
        f"{lock_wait(lock_wait_s)}; LOCK TABLE cases IN ACCESS SHARE MODE; SELECT WHERE {current} = '{files}'"
    )
    if found == "SELECT 0":
        raise RowDeleted("TRUNCATE or a restored backup has replaced the tables of cases, organizations, or projects")


async def find_stored(connection: Connection, refs: Iterable[CaseKeyRef]) -> dict[CaseKeyRef, StoredCase]:
    """Return the stored case of each key. It has a different identity if the keys of two cases collide.

    A transaction on Citus becomes visible on its coordinator first, which has the versions, and then on the workers.
    The rows of its changes are locked meanwhile.
    """
    name = "committed_cases" if engine_of(connection).is_distributed else "stored_cases"
    rows = await fetch_requested(connection, name, refs, ["case_keys"])
    return {
        (OrgId(row["org_id"]), CaseKey(row["case_key"])): StoredCase(_known_case(row), row["trusted"]) for row in rows
    }


async def insert_unseen(
    connection: Connection, unseen: Mapping[CaseKeyRef, Case], excess: set[tuple[OrgId, str]]
) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases that aren't stored yet, change those with new texts or owners, and return the stored cases.

    A hidden case becomes trusted, with the texts of the trusted run. Owners that exceed the limit of their organization
    are added to `excess` instead.
    """
    columns = _columns(unseen)
    async with connection.transaction():
        await prevent_deletion(connection, set(columns[0]))
        owners = await _permitted_owners(connection, unseen, excess)  # before rows are locked, to prevent deadlocks
        written = await connection.fetch(_SQL["insert_unseen"], *columns)
        inserted = {(row["org_id"], row["case_key"]) for row in written if not row["is_changed"]}
        changed = {row["org_id"] for row in written if row["is_changed"]}
        for org_id, stated in owners.items():
            keys, documents = list(stated), [orjson.dumps(names).decode() for names in stated.values()]
            rows = await connection.fetch(_SQL["set_owners"], org_id, keys, documents)
            changed |= {org_id for row in rows if (org_id, row["case_key"]) not in inserted}
        if changed:
            await connection.execute(_SQL["count_changes"], changed)
    return await find_stored(connection, unseen)


async def _permitted_owners(
    connection: Connection, unseen: Mapping[CaseKeyRef, Case], excess: set[tuple[OrgId, str]]
) -> dict[OrgId, dict[CaseKey, tuple[str, ...]]]:
    """Return the stated owners by organization and case, without those that exceed the limit."""
    stated: dict[OrgId, dict[CaseKey, tuple[str, ...]]] = {}
    for (org_id, key), case in sorted(unseen.items()):
        if case.owners is not None:
            stated.setdefault(org_id, {})[key] = case.owners
    for org_id, owners in stated.items():
        names = list({name for of_case in owners.values() for name in of_case})
        if await connection.fetch(_SQL["lock_new_owners"], org_id, names):
            rows = await connection.fetch(_SQL["find_excess_owners"], org_id, names, MAX_OWNERS_OF_ORGANIZATION)
            dropped = {row["owner"] for row in rows}
            excess |= {(org_id, name) for name in dropped}
            stated[org_id] = {
                key: tuple(name for name in of_case if name not in dropped) for key, of_case in owners.items()
            }
    return stated


async def insert_hidden(connection: Connection, unseen: Mapping[CaseKeyRef, Case]) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases of an untrusted run that aren't stored yet, and return the stored case of each key."""
    columns = _columns(unseen)
    async with connection.transaction():
        await prevent_deletion(connection, set(columns[0]))
        await connection.execute(_SQL["insert_hidden"], *columns, UNTRUSTED_LIFETIME.days + 1)
    return await find_stored(connection, unseen)


async def insert_promoted(connection: Connection, unseen: Mapping[CaseKeyRef, Case]) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases of a promoted run, or replace those that no trusted run contains.

    Return the stored case of each key.
    """
    columns = _columns(unseen)
    async with connection.transaction():
        await prevent_deletion(connection, set(columns[0]))
        await connection.execute(_SQL["insert_promoted"], *columns)
    return await find_stored(connection, unseen)


async def find_of_default_branch(
    connection: Connection, org_id: OrgId, project_id: str, branch: str, case_keys: Sequence[CaseKey]
) -> set[CaseKey]:
    """Return the cases that the newest runs of the default branch of a project contain, if it's another branch."""
    rows = await connection.fetch(_SQL["find_of_default_branch"], org_id, project_id, branch, case_keys)
    return {CaseKey(row["case_key"]) for row in rows}


def _columns(cases: Mapping[CaseKeyRef, Case]) -> Sequence[Sequence[Any]]:
    """Return the columns of the cases: organizations, keys, and the fields of Case except the owners."""
    *columns, variants, _ = zip(*cases.values(), strict=True)
    documents = [variant or _NO_VARIANT for variant in variants]
    return [ref[0] for ref in cases], [ref[1] for ref in cases], *columns, documents


def _known_case(row: Row) -> Case:
    fields = [row[name] for name in Case._fields]
    return Case(*fields)._replace(variant=canonical_variant(row["variant"]), owners=tuple(row["owners"]))


class CasePosition(NamedTuple):
    """A position in the list of cases of a project."""

    suite_hash: int
    case_key: CaseKey


_START: Final = CasePosition(-(2**63), CaseKey(-(2**63)))


class RankingBudgets(NamedTuple):
    """The maximum number of rows to read, and of ranked cases to compare with the filters."""

    rows: int = MAX_READ_ROWS
    cases: int = MAX_FILTERED_CASES


class SearchBudgets(NamedTuple):
    """The maximum number of cases to compare with words and variants, and of those to look up in runs."""

    cases: int = SEARCHED_CASES
    lookups: int = PROBE_BUDGET


_BUDGETS: Final = RankingBudgets()
_SEARCH_BUDGETS: Final = SearchBudgets()


async def list_page(
    connection: Connection,
    org_id: OrgId,
    filter_: ResultFilter,
    runs: int,
    after: CasePosition | None,
    limit: int,
    budgets: SearchBudgets = _SEARCH_BUDGETS,
) -> RowPage[CaseRow, CasePosition]:
    """Return the next cases of the project of the filter, with statistics over their last `runs` runs.

    The filter can also have a suite, a branch and a range of runs, and words, variants, states, and an owner of cases.
    With a branch or a range, only these runs count, and cases without a result in the newest of them aren't listed.

    A page has fewer than `limit` if the scan budget ends before the list does.
    """
    values = _list_values(org_id, filter_, runs, after, limit)
    choices, searches = await _choose_cases(connection, org_id, filter_)
    if searches:
        search = compose("search_of_cases", searched_cases=budgets.cases, **choices)
        return await _search_page(connection, search, values | _search_values(filter_, limit, budgets))
    rows = await page_statement("next_cases", **choices).fetch_rows(connection, values)
    positions = {row["case_key"]: _position(row) for row in rows}
    return cut_page(list(map(_case, rows)), limit, None, lambda case: positions[case.case_key])


def page_statement(listed: str, **choices: str) -> Statement:
    """Return the statement that reads a page of cases: the `next_cases`, or the `found_cases` of a search."""
    return compose("page_of_cases", listed_cases=listed, **choices)


def _state_choice(filter_: ResultFilter, filtered: Literal["cases", "ranks"]) -> dict[str, str]:
    """Return the fragment that filters by state. Healthy cases have no state in the database, only the others."""
    if not filter_.states:
        return {}
    return {f"{filtered}_in_any_state": f"{filtered}_{'not_' if 'healthy' in filter_.states else ''}in_states"}


async def _choose_cases(connection: Connection, org_id: OrgId, filter_: ResultFilter) -> tuple[dict[str, str], bool]:
    """Return the fragments that yield the cases of a list, and whether the list is a search within a budget.

    The cases of an owner are looked up. If the owner has too many, the cases of the project are compared with it.
    """
    choices = _state_choice(filter_, "cases")
    searches = bool(filter_.words or filter_.variants) or _filters_runs(filter_)
    if filter_.owner is None or choices.get("cases_in_any_state") == "cases_in_states":
        return choices, searches
    if await _owner_has_more(connection, org_id, filter_, MAX_LOOKED_UP):
        return choices, True
    return {**choices, "cases_of_any_owner": "cases_of_owner"}, searches


async def _owner_has_more(connection: Connection, org_id: OrgId, filter_: ResultFilter, limit: int) -> bool:
    """Return whether the owner has more than `limit` cases of the project."""
    of_owner = org_id, filter_.project_id, filter_.owner, limit + 1
    count: int = await connection.fetchval(_SQL["count_of_owner"], *of_owner)
    return count > limit


async def _search_page(
    connection: Connection, search: Statement, values: Mapping[str, Any]
) -> RowPage[CaseRow, CasePosition]:
    """Find the cases of the page first, and then read them with their statistics."""
    found = _found_positions(await search.fetch_rows(connection, values), values["page"], values["candidates"])
    return RowPage(await _list_found(connection, values, found.rows), found.next)


async def _list_found(
    connection: Connection, values: Mapping[str, Any], found: Sequence[CasePosition]
) -> list[CaseRow]:
    hashes, keys = zip(*found, strict=True) if found else ((), ())
    listed = {**values, "suite_hashes": hashes, "case_keys": keys}
    return list(map(_case, await page_statement("found_cases").fetch_rows(connection, listed) if keys else ()))


async def list_found(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, runs: int, found: Sequence[CasePosition]
) -> dict[CaseKey, CaseRow]:
    """Return these cases by key, with statistics over their last `runs` runs that match the filter."""
    rows = await _list_found(connection, _list_values(org_id, filter_, runs, None, len(found)), found)
    return {row.case_key: row for row in rows}


def ranked_filters(org_id: OrgId, filter_: ResultFilter, limit: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the parameters and the chosen fragments with which another ranking filters cases."""
    values = _filter_values(org_id, filter_) | ranking_values(filter_, 0, limit)
    return values, _state_choice(filter_, "ranks")


def _found_positions(rows: Sequence[Row], limit: int, candidates: int) -> RowPage[CasePosition, CasePosition]:
    """Return the positions of the cases of the page, of at most `candidates` rows of a search."""
    found = [_position(row) for row in rows if row["matches"]]
    if len(found) > limit:
        return RowPage(found[:limit], found[limit - 1])
    ends_early = bool(rows) and (len(rows) == candidates or rows[-1]["is_edge"])
    return RowPage(found, _position(rows[-1]) if ends_early else None)


def _position(row: Row) -> CasePosition:
    return CasePosition(row["suite_hash"], row["case_key"])


def _list_values(
    org_id: OrgId, filter_: ResultFilter, runs: int, after: CasePosition | None, limit: int
) -> dict[str, Any]:
    after_suite, after_case = after or _START
    position = {"after_suite": after_suite, "after_case": after_case}
    return _filter_values(org_id, filter_) | position | {"runs": runs, "page": limit}


def _filter_values(org_id: OrgId, filter_: ResultFilter) -> dict[str, Any]:
    """Return the parameters of a filter. Its states are the excluded ones if healthy cases match."""
    excludes = "healthy" in filter_.states
    states = [value for value in STATE_VALUES if (value in filter_.states) != excludes]
    return filter_values(org_id, filter_, None) | {"states": states}


def _search_values(filter_: ResultFilter, limit: int, budgets: SearchBudgets) -> dict[str, Any]:
    """Return the parameters of a search. In ASCII, other letters can be compared without a change of their case."""
    patterns = [f"%{_WILDCARD.sub(_ESCAPED, word)}%" for word in filter_.words]
    requires_result = _filters_runs(filter_)
    return {
        "patterns": patterns or None, "is_ascii": all(map(str.isascii, filter_.words)),
        "candidates": budgets.lookups if requires_result else limit + 1, "requires_result": requires_result,
    }  # fmt: skip


def _filters_runs(filter_: ResultFilter) -> bool:
    return (filter_.branch, filter_.from_ms, filter_.to_ms) != (None, None, None)


async def find_one(
    connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str | None, runs: int
) -> CaseRow | None:
    """Return one case, or None if the organization, or the given project, doesn't have it."""
    project_id = await find_project(connection, org_id, case_key, project_id)
    if project_id is None:
        return None
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id, "runs": runs}
    rows = await compose("one_case").fetch_rows(connection, values)
    return _case(rows[0]) if rows else None


async def list_other_variants(
    connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str, runs: int, limit: int
) -> list[CaseRow]:
    """Return the first `limit` cases that differ from a case only in their variants, with statistics.

    For a case without an ID of the producer, it examines a limited number of the cases of its suite.
    """
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id, "runs": runs, "page": limit}
    return list(map(_case, await compose("other_variants").fetch_rows(connection, values)))


async def find_project(connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str | None) -> str | None:
    """Return the project of a case, or None if the organization, or the given project, doesn't have the case."""
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id}
    found: str | None = await compose("case_project").fetch_value(connection, values)
    return found


async def list_ranked(
    connection: Connection,
    org_id: OrgId,
    filter_: ResultFilter,
    ranking: RunRanking,
    runs: int,
    limit: int,
    budgets: RankingBudgets = _BUDGETS,
) -> RankedCases:
    """Return the cases of a project with the most failing or flaky results in its newest `runs` runs, or with the
    longest durations in its newest complete run with executed results.

    The filter has a project, and a branch, suite, words, variants, states, or owner. The statistics cover the ranked
    runs.
    """
    values = _filter_values(org_id, filter_) | ranking_values(filter_, runs, limit, budgets)
    choices = _state_choice(filter_, "ranks")
    if filter_.owner is not None:
        is_large = await _owner_has_more(connection, org_id, filter_, MAX_HASHED)
        choices["ranks_of_any_owner"] = "ranks_of_large_owner" if is_large else "ranks_of_owner"
    statement = compose(f"ranked_by_{ranking}", **choices)
    rows = await statement.fetch_rows(connection, values)
    return RankedCases([_case(row) for row in rows if row["case_key"] is not None], rows[0]["truncated"])


def ranking_values(filter_: ResultFilter, runs: int, limit: int, budgets: RankingBudgets = _BUDGETS) -> dict[str, Any]:
    """Return the parameters of a ranking. Without filters of cases, it ranks only as many cases as it lists."""
    filters_cases = filter_.suite is not None or bool(filter_.words or filter_.variants)
    return {
        "runs": runs, "page": limit, "row_budget": budgets.rows, "ranked": budgets.cases if filters_cases else limit,
    }  # fmt: skip


async def list_owners(
    connection: Connection, org_id: OrgId, project_id: str, first: str, limit: int
) -> RowPage[OwnerRow, str]:
    """Return the owners of the cases of a project from `first` on, in the order of their names."""
    values = {"org_id": org_id, "project_id": project_id, "first": first, "page": limit}
    owners = [OwnerRow(*row) for row in await compose("page_of_owners").fetch_rows(connection, values)]
    return RowPage(owners[:limit], owners[limit].owner if len(owners) > limit else None)


async def find_of_owner(
    connection: Connection, org_id: OrgId, owner: str, case_keys: Sequence[CaseKey]
) -> set[CaseKey]:
    """Return which of these cases have this owner."""
    rows = await connection.fetch(_SQL["find_of_owner"], org_id, owner, case_keys)
    return {CaseKey(row["case_key"]) for row in rows}


def _case(row: Row) -> CaseRow:
    return CaseRow(*row[:_FIELDS])
