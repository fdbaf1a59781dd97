"""A page of rows: what a list returns, and how many rows fit into it.

A store returns rows, from which `contract.py` writes the public objects. For some nouns, such as keys and exports,
PostgreSQL writes the public objects, so their pages contain JSON objects instead of rows.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Generic, NamedTuple, TypeVar, TypeVarTuple

import orjson

from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, Row, as_organization
from service.database.engines import RequestedRow, engine_of
from service.database.statements import Statement, compose
from service.domain.cursors import AnyPosition, Cursors, ids
from service.domain.filters import Position, RunFilter
from service.domain.ids import OrgId
from service.domain.object_kinds import ObjectKind
from service.domain.statuses import STATUS_CODES
from service.identity.keys.model import Caller

AnyRow = TypeVar("AnyRow")
TupleRow = TypeVar("TupleRow", bound=tuple[Any, ...])

# A page ends after the item with which it reaches this size. The client continues with the cursor.
MAX_PAGE_BYTES: Final = 4 * 2**20

_MAX_ROW_BYTES: Final = 40_000  # because each text is limited; the labels of a run rarely need more
_MEMBER_BYTES: Final = 25  # of a name and a number
_ALL_CODES: Final = list(STATUS_CODES.values())

Item = TypeVar("Item")


class RowPage(NamedTuple, Generic[AnyRow, AnyPosition]):
    """The rows of a page in the order of the list, and the position where the list continues, or None at its end."""

    rows: Sequence[AnyRow]
    next: AnyPosition | None


def cut_page(
    rows: Sequence[TupleRow], limit: int, end: AnyPosition | None, position: Callable[[TupleRow], AnyPosition]
) -> RowPage[TupleRow, AnyPosition]:
    """Return a page with at most `limit` of the rows, and with fewer if they are large.

    `end` is the position after the rows that were examined, or None if the list ends with them.
    """
    count = min(len(rows), limit)
    if count * _MAX_ROW_BYTES > MAX_PAGE_BYTES:
        count = _count_fitting(rows[:count])
    if count < len(rows):
        end = position(rows[count - 1])
    return RowPage(rows[:count], end)


async def page_by_id(
    connection: Connection, listed: str, prefix: str, before: str | None, limit: int, values: Mapping[str, object]
) -> RowPage[Any, str]:
    """Return a page of public objects, from the newest ID to the oldest, after the ID `before`.

    `listed` is the fragment that reads them, and `prefix` the prefix of their IDs.
    """
    after_all = f"{prefix}_g"  # IDs continue with hex digits
    values = {**values, "before": before or after_all, "page": limit}
    return parse_page(await page_by_id_statement(listed).fetch_row(connection, values))


def page_by_id_statement(listed: str) -> Statement:
    """Return the statement for a page of a list by ID."""
    return compose("page_by_id", listed=listed, page_bytes=MAX_PAGE_BYTES)


async def find_object(connection: Connection, name: str, values: Mapping[str, object]) -> Any:
    """Return the public object that a statement writes, or None if there is no such row."""
    text = await compose(name).fetch_value(connection, values)
    return None if text is None else orjson.loads(text)


def parse_page(row: Row) -> RowPage[Any, str]:
    """Return the page of a row with a JSON array of public objects and the ID after which the list continues."""
    data, next_id = row
    return RowPage(orjson.loads(data), next_id)


def _count_fitting(rows: Sequence[tuple[Any, ...]]) -> int:
    sizes = accumulate(map(_bytes_of, rows))
    return next((number for number, size in enumerate(sizes, 1) if size >= MAX_PAGE_BYTES), len(rows))


def _bytes_of(value: object) -> int:
    """Return the approximate size of a row, or of a value of it, in the public object."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(_bytes_of(text) for pair in value.items() for text in pair)
    if isinstance(value, tuple):
        return sum(_MEMBER_BYTES + _bytes_of(each) for each in value)
    return 0


class ListPage(NamedTuple, Generic[Item]):
    """The items of a page, and the cursor of the next page, or None at the end of the list."""

    items: Sequence[Item]
    next_cursor: str | None


ReadPage = Callable[[Connection, AnyPosition | None], Awaitable[RowPage[Item, AnyPosition]]]
ReadArguments = TypeVarTuple("ReadArguments")


async def read_page(
    pool: Pool,
    caller: Caller,
    cursors: Cursors[AnyPosition],
    starting_after: str | None,
    read: ReadPage[AnyPosition, Item],
) -> ListPage[Item]:
    """Return the page after a cursor. `read` returns the rows after a position.

    Raises InvalidRequest for a cursor of another list.
    """
    after = cursors.read(starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        page = await read(connection, after)
    return ListPage(page.rows, cursors.write(page.next))


async def read_page_by_id(
    pool: Pool,
    caller: Caller,
    kind: ObjectKind,
    query: PageQuery,
    read: Callable[[Connection, OrgId, str | None, str | None, int, *ReadArguments], Awaitable[RowPage[Item, str]]],
    *arguments: *ReadArguments,
) -> ListPage[Item]:
    """Return a page of the objects of the caller's organization, or of its project, newest first.

    `read` gets the organization, the project, the ID before which the page starts, the limit, and the arguments.
    """

    async def read_before(connection: Connection, before: str | None) -> RowPage[Item, str]:
        return await read(connection, caller.org_id, caller.project_id, before, query.limit, *arguments)

    cursors = Cursors(ids(kind.prefix), f"{kind.noun}s", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read_before)


async def fetch_requested(
    connection: Connection, name: str, requested: Iterable[RequestedRow], columns: Sequence[str], **values: object
) -> list[Row]:
    """Return the rows of the statement `name` for the requested rows, each an organization and other `columns`."""
    engine = engine_of(connection)
    statement = compose(name, **engine.requested_row)
    rows: list[Row] = []
    for part in engine.split(requested):
        org_ids, *others = zip(*part, strict=True)
        parameters = {"org_ids": org_ids, "org_id": org_ids[0], **dict(zip(columns, others, strict=True)), **values}
        rows += await statement.fetch_rows(connection, parameters)
    return rows


def filter_values(org_id: OrgId, filter_: RunFilter, after: Position | None) -> dict[str, Any]:
    """Return the parameters of a statement for the part of the list after a position.

    Each field of the filter is the parameter of its name. A field with several values is a list, or null without any.
    If no status is set, `any_status` is true, and `statuses` are all letters. The times are converted to the range of
    run keys from `first_key` to `before_run`. `trusted` is null if runs of both kinds match.
    """
    before = filter_.before(after)
    values = {
        name: (list(value) or None) if isinstance(value, tuple) else value for name, value in vars(filter_).items()
    }
    return values | {
        "org_id": org_id,
        "statuses": values["statuses"] or _ALL_CODES,
        "any_status": not values["statuses"],
        "trusted": filter_.is_trusted,
        "first_key": filter_.first_key,
        "before_run": before.run_key,
        "before_case": before.case_key,
    }
