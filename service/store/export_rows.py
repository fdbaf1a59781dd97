"""The rows of a bulk export as PostgreSQL streams them: CSV and JSON by COPY, Arrow batches by ADBC."""

import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from service.domain.exports import Column, ExportOrder, Format
from service.domain.filters import ResultFilter
from service.domain.ids import OrgId
from service.domain.statuses import LETTER
from service.store.database import Connection, as_organization
from service.store.pieces import Statement, compose
from service.store.statements import statements

if TYPE_CHECKING:
    import pyarrow  # an extra: only whoever exports Parquet needs it

Sink = Callable[[bytes], Coroutine[Any, Any, None]]

_SQL: Final = statements("exports")
_ALL_LETTERS: Final = list(LETTER.values())
_PARAMETER: Final = re.compile(r"\$(\d+)")
_LONGEST_S: Final = 6 * 3600.0
_BATCH_BYTES: Final = 4 * 2**20

# How a column is written where that differs from its type in the database.
_AS_TEXT: Final[dict[Format, frozenset[Column]]] = {
    "csv": frozenset({"labels", "flaky", "started_at", "completed_at"}),
    "json": frozenset({"started_at", "completed_at"}),
    "ndjson": frozenset({"started_at", "completed_at"}),
    "parquet": frozenset({"labels"}),
}
# With plain CSV or text COPY would corrupt JSON: these two bytes can't occur in it.
_JSON_LINES: Final = {"format": "csv", "quote": "\x01", "delimiter": "\x02"}


class RowQuery(NamedTuple):
    """A query with every value written out, since COPY takes no parameters, and how many rows to expect."""

    text: str
    expected: int | None


@asynccontextmanager
async def snapshot(pool: asyncpg.Pool, org_id: OrgId) -> AsyncIterator[Connection]:
    """A connection of results_api that sees the organization as it is now, for as long as an export takes."""
    async with (
        as_organization(pool, org_id) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.execute("SET LOCAL statement_timeout = 0")
        yield connection


async def row_query(connection: Connection, org_id: OrgId, order: ExportOrder) -> RowQuery:
    """The query of an order."""
    wanted = order.filter
    case_keys = await _case_keys(connection, org_id, wanted)
    values = _values(org_id, order, case_keys)
    shape = "export_json" if order.format in ("json", "ndjson") else "export_rows"
    text = await _written_out(connection, compose(shape, columns=_columns(order)), values)
    countable = case_keys is None and wanted.suite is None
    return RowQuery(text, await compose("export_size").fetch_value(connection, values) if countable else None)


async def copy_csv(connection: Connection, query: RowQuery, sink: Sink) -> int:
    """Streams a header and the rows as CSV; returns how many rows."""
    return await _copy(connection, query.text, sink, format="csv", header=True)


async def copy_json_lines(connection: Connection, query: RowQuery, sink: Sink) -> int:
    """Streams each row as one line of JSON; returns how many rows."""
    return await _copy(connection, query.text, sink, **_JSON_LINES)


@contextmanager
def arrow_batches(database_url: str, org_id: OrgId, query: RowQuery) -> "Iterator[pyarrow.RecordBatchReader]":
    """Streams the rows as Arrow batches, for a thread. Raises ImportError where the extra `parquet` is missing."""
    from adbc_driver_postgresql import StatementOptions, dbapi  # a part of the same extra

    with dbapi.connect(_url_as(database_url, org_id)) as connection, connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(_BATCH_BYTES)})
        cursor.execute(query.text)
        yield cursor.fetch_record_batch()


async def _copy(connection: Connection, text: str, sink: Sink, **options: Any) -> int:
    done = await connection.copy_from_query(text, output=sink, timeout=_LONGEST_S, **options)
    return int(done.split()[-1])


def _columns(order: ExportOrder) -> tuple[str, ...]:
    as_text = _AS_TEXT[order.format]
    return tuple(f"export_{column}{'_text' if column in as_text else ''}" for column in order.columns)


async def _case_keys(connection: Connection, org_id: OrgId, wanted: ResultFilter) -> list[int] | None:
    """The cases that are asked for, or None where no case is."""
    if wanted.case_key is not None:
        return [wanted.case_key]
    if wanted.case_id is None:
        return None
    rows = await connection.fetch(_SQL["find_cases"], org_id, wanted.case_id, wanted.project_id)
    return [row["case_key"] for row in rows]


def _values(org_id: OrgId, order: ExportOrder, case_keys: list[int] | None) -> Mapping[str, Any]:
    wanted = order.filter
    return {
        "org_id": org_id,
        "raw": order.raw,
        "first_key": wanted.first_key,
        "before_run": wanted.before(None).run_key,
        "any_status": not wanted.statuses,
        "statuses": list(wanted.statuses) or _ALL_LETTERS,
        "run_id": wanted.run_id,
        "project_id": wanted.project_id,
        "environment": wanted.environment,
        "branch": wanted.branch,
        "suite": wanted.suite,
        "case_keys": case_keys,
    }


async def _written_out(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> str:
    """The statement with PostgreSQL's own quotation of each value in the place of its parameter."""
    literals = await connection.fetchval(_SQL["quote"], [_as_text(values[name]) for name in statement.names])
    return _PARAMETER.sub(lambda match: str(literals[int(match[1]) - 1]), statement.text)


def _as_text(value: Any) -> str | None:
    """A value as PostgreSQL reads it from text; lists are of letters or of numbers, which need no quotation inside."""
    if isinstance(value, list):
        return "{" + ",".join(map(str, value)) + "}"
    return None if value is None else str(value)


def _url_as(database_url: str, org_id: OrgId) -> str:
    """The URL for a driver of its own, in the role and the organization of this export."""
    options = f"-c role=results_api -c app.org_id={org_id} -c jit=off"
    parts = urlsplit(database_url)
    query = "&".join(filter(None, [parts.query, f"options={quote(options)}", "application_name=results_api"]))
    return urlunsplit(parts._replace(query=query))
