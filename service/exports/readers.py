"""Readers of an export: its query with literal values, the key ranges, the shared snapshot, and the rows with COPY."""

import asyncio
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from service.database.connections import connect
from service.database.database import JSON_LINES, Connection, Pool, acquire_as, pool_engine, terminate
from service.database.errors import DRIVER_ERRORS
from service.database.pages import filter_values
from service.database.statements import Fragment, Statement, compose, fragments, statements
from service.domain.errors import ServiceError
from service.domain.filters import ResultFilter
from service.domain.ids import OrgId, RunKey
from service.events.model import AFTER_LAST, BEFORE_FIRST
from service.exports.columns import EXPORT_COLUMNS
from service.exports.model import ExportSpec, KeyRange, RangeStart, RowSource, split_into_ranges
from service.stopping import end_tasks
from service.tracing.spans import copy_span

_SQL: Final = statements("exports")
_ORDERS: Final = {"-duration_ms": "export_order_of_durations", "suite": "export_order_of_suites"}
_UNLIMITED: Final = 2**31 - 1
_PARAMETER: Final = re.compile(r"\$(\d+)")

_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

# Between two ranges, a reader can wait for slow storage. COPY writes times as the session shows them.
_SETTINGS: Final = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '10min';"
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'"
)
_PROBE_TIMEOUT_S: Final = 10.0

# The login role sees the state of its own processes. A process that waits for `ClientWrite` has filled the buffers of a
# connection from which the reader gets nothing.
_IS_WORKING: Final = (
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
    " WHERE pid = $1 AND state = 'active' AND wait_event IS DISTINCT FROM 'ClientWrite')"
)
Probe = Callable[[], Awaitable[bool]]
_COPY_TIMEOUT_S: Final = 6 * 3600.0

# Even with cold caches, a range sends rows within this time. A suspended server never does.
_STALL_TIMEOUT_S: Final = 300.0
_PROBE_AFTER_S: Final = 15.0  # without rows
_ARRIVAL_S: Final = 2.0  # of what the server has sent
_CHUNK_BYTES: Final = 2**20  # large enough to encode in a thread

# PostgreSQL sends packets of 8 KiB, and asyncpg spends 25 us on each packet of any size. After a small packet, the
# reader waits for the shortest time that an event loop supports, so that the socket gathers more data.
_SMALL_PACKET_BYTES: Final = 64 * 2**10
_GATHER_S: Final = 0.001


class PositionDeleted(ServiceError):
    """Events after the position were deleted before the export started."""

    def __init__(self) -> None:
        super().__init__("updated_since: later events were deleted; export all runs, without updated_since")


class ExportPlan(NamedTuple):
    """A statement, its values as literals because COPY accepts no parameters, and the key ranges."""

    statement: Statement
    literals: Mapping[str, str]
    ranges: Sequence[KeyRange]
    expected_rows: int | None  # None if the number isn't known in advance
    position: str  # in the event stream; the export contains all earlier changes
    changed_keys: list[RunKey]  # of the changed runs, sorted, if the export contains only those

    def query(self, key_range: KeyRange) -> str:
        """Return the query for the rows of one range."""
        first = bisect_left(self.changed_keys, key_range.first_run)
        changed_keys = self.changed_keys[first : bisect_right(self.changed_keys, key_range.last_run)]
        of_range = key_range._asdict() | {"changed_keys": _text_form(changed_keys)}
        literals = {**self.literals, **{name: f"'{value}'" for name, value in of_range.items()}}
        return _PARAMETER.sub(lambda match: literals[self.statement.names[int(match[1]) - 1]], self.statement.text)


async def plan_export(connection: Connection, org_id: OrgId, spec: ExportSpec, range_results: int) -> ExportPlan:
    """Return the plan of an export in ranges of about `range_results` results, at the snapshot of the connection."""
    result_filter = spec.filter
    if result_filter.sort is not None:
        range_results = _UNLIMITED  # one range, because rows of several ranges wouldn't be sorted
    position, deleted_to = await _find_position(connection, org_id)
    if spec.changed_after is not None and spec.changed_after < deleted_to:
        raise PositionDeleted
    case_keys = await _case_keys(connection, org_id, result_filter)
    values = _values(org_id, spec, case_keys) | {"range_results": range_results}
    changed_keys = await _changed_keys(connection, spec, values)
    read_once = values | {"changed_keys": changed_keys}
    starts = await compose("export_ranges", **_sources(spec)).fetch_rows(connection, read_once)
    return ExportPlan(
        export_statement(spec),
        await _literals(connection, values),
        split_into_ranges(
            values["first_run"],
            values["last_run"],
            [RangeStart(row["run_key"], row["results"]) for row in starts],
            range_results,
        ),
        sum(row["expected"] for row in starts[:1]) if result_filter.is_countable else None,
        position,
        changed_keys,
    )


def export_statement(spec: ExportSpec) -> Statement:
    """Return the statement for the rows of an export."""
    name = "export_json" if spec.file_format.details.source == "json_lines" else "export_rows"
    order = {"export_order": _ORDERS[spec.filter.sort]} if spec.filter.sort else {}
    if spec.content == "runs":
        name = f"{name}_of_runs"
    return compose(name, columns=_columns(spec), **order, **_sources(spec))


def _sources(spec: ExportSpec) -> dict[str, str]:
    """Return the fragments that differ from those of an export of all results."""
    of_runs = {"run_matches": "run_filters", "export_results": "export_one_row"} if spec.content == "runs" else {}
    return of_runs if spec.changed_after is None else of_runs | {"export_source": "changed_runs"}


# Most columns of runs are columns of the rows that the statement reads. The others have fragments.
_COLUMNS_OF_RUNS: Final[Mapping[str, str | Fragment]] = {
    column: name if name in fragments()["exports"] else Fragment(column, f"run.{column}")
    for column in EXPORT_COLUMNS["runs"]
    for name in [f"export_run_{column}"]
}


def _columns(spec: ExportSpec) -> tuple[str | Fragment, ...]:
    prefix = "export_run" if spec.content == "runs" else "export"
    plain = _COLUMNS_OF_RUNS if spec.content == "runs" else {}
    return tuple(
        f"{prefix}_{column}_text" if spec.is_text(column) else plain.get(column, f"{prefix}_{column}")
        for column in spec.columns
    )


async def _find_position(connection: Connection, org_id: OrgId) -> tuple[str, int]:
    """Return the position of the snapshot in the event stream, and the last event number that was deleted."""
    row = await connection.fetchrow(_SQL["find_position"], org_id)
    return (row["position"], row["deleted_to"]) if row else (str(BEFORE_FIRST), BEFORE_FIRST)


async def _changed_keys(connection: Connection, spec: ExportSpec, values: Mapping[str, Any]) -> list[RunKey]:
    """Return the sorted keys of the changed runs, or an empty list if the export contains all runs."""
    if spec.changed_after is None:
        return []
    return [row["run_key"] for row in await compose("changed_run_keys").fetch_rows(connection, values)]


async def _case_keys(connection: Connection, org_id: OrgId, result_filter: ResultFilter) -> list[int] | None:
    """Return the keys of the cases that the filter selects, or None if it selects no case."""
    if result_filter.case_key is not None:
        return [result_filter.case_key]
    if result_filter.case_id is None:
        return None
    rows = await connection.fetch(_SQL["find_cases"], org_id, result_filter.case_id, result_filter.project_id)
    return [row["case_key"] for row in rows]


def _values(org_id: OrgId, spec: ExportSpec, case_keys: list[int] | None) -> dict[str, Any]:
    """Return the values of all parameters. A query of one range replaces `first_run` and `last_run`."""
    oldest, newest = spec.filter.first_key, spec.filter.before(None).run_key
    return filter_values(org_id, spec.filter, None) | {
        "raw": spec.raw,
        "first_run": oldest,
        "last_run": newest,
        "case_keys": case_keys,
        "changed_after": AFTER_LAST if spec.changed_after is None else spec.changed_after,
        "oldest_run": oldest,
        "newest_run": newest,
    }


async def _literals(connection: Connection, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return each value as a literal that PostgreSQL has quoted."""
    quoted = await connection.fetchval(_SQL["quote"], [_text_form(value) for value in values.values()])
    return dict(zip(values, quoted, strict=True))


def _text_form(value: Any) -> str | None:
    """Return the text form of a value."""
    if isinstance(value, list):
        return "{" + ",".join(_quoted_element(str(element)) for element in value) + "}"
    return None if value is None else str(value)


def _quoted_element(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class ReadStrategy(NamedTuple):
    """The number of readers, the results per range, and the chunks of 1 MiB that a reader can buffer.

    Each range looks up its cases again, so short ranges are slower. A reader with a full buffer waits for the others.
    """

    readers: int
    range_results: int
    buffered_chunks: int


@asynccontextmanager
async def open_snapshot(pool: Pool, org_id: OrgId, name: str | None = None) -> AsyncIterator[Connection]:
    """Open a connection of results_api that sees the organization now, or at the named snapshot.

    If the block raises, which can be during a COPY, the connection is terminated. Otherwise, the driver would send a
    cancel request and wait for its response, which a suspended server, or one that has sent everything, never sends.
    """
    async with acquire_as(pool, org_id) as connection:
        try:
            await connection.execute(_BEGIN)
            if name is not None:
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
            await connection.execute(_SETTINGS)
            yield connection
        except BaseException:
            terminate(connection)
            raise
        await connection.execute("COMMIT")


async def loss_probe(connection: Connection, database_url: str) -> Probe:
    """Return a function that returns whether the connection's server process can send nothing more.

    It has ended, is idle, or waits for the network. The function asks on a new connection, and raises the error of this
    connection if the server doesn't respond.
    """
    process_id = await connection.fetchval("SELECT pg_backend_pid()")  # that of the driver can be one of a proxy

    async def is_lost() -> bool:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            probing = await connect(database_url)
            try:
                return not await probing.fetchval(_IS_WORKING, process_id)
            finally:
                probing.terminate()

    return is_lost


async def export_snapshot(connection: Connection) -> str:
    """Return the name of the connection's snapshot, which other connections can use until this transaction ends."""
    return str(await connection.fetchval("SELECT pg_export_snapshot()"))


class TextReading(NamedTuple):
    """An export plan and its readers, all at one snapshot."""

    plan: ExportPlan
    readers: "Sequence[TextReader]"


@asynccontextmanager
async def open_readers(
    pool: Pool, database_url: str, org_id: OrgId, spec: ExportSpec, strategy: ReadStrategy
) -> AsyncIterator[TextReading]:
    """Open readers that see the organization at the current time until the block ends.

    `database_url` is that of the pool, whose connections can all be in use.
    """
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(open_snapshot(pool, org_id))
        plan = await plan_export(first, org_id, spec, strategy.range_results)
        name = await export_snapshot(first)
        readers = pool_engine(pool).limit_readers(strategy.readers)
        others = [await opened.enter_async_context(open_snapshot(pool, org_id, name)) for _ in range(1, readers)]
        source = spec.file_format.details.source
        connections = [(each, await loss_probe(each, database_url)) for each in (first, *others)]
        yield TextReading(plan, [TextReader(*each, plan, source) for each in connections])


class TextReader:
    """Streams key ranges as CSV, with a header before the first range, or as JSON lines."""

    def __init__(self, connection: Connection, is_lost: Probe, plan: ExportPlan, source: RowSource) -> None:
        self._connection = connection
        self._is_lost = is_lost
        self._plan = plan
        self._source = source

    async def read(self, key_range: KeyRange, put: Callable[[bytes], Awaitable[None]]) -> int:
        """Pass the rows of a range to `put` in chunks, and return the number of rows.

        Raises TimeoutError, which is an outage, if the server sends nothing for 5 minutes, or sooner if its process
        doesn't work on the range any more, because the connection is half-open.
        """
        async with asyncio.timeout(_STALL_TIMEOUT_S) as stall:
            chunks = _ChunkBuffer(put, stall)
            probing = asyncio.create_task(self._probe_while_quiet(chunks, stall))
            try:
                with copy_span("results"):
                    done = await self._connection.copy_from_query(
                        self._plan.query(key_range), output=chunks.add, timeout=_COPY_TIMEOUT_S,
                        **self._options(key_range),
                    )  # fmt: skip
                await chunks.flush()
            finally:
                await end_tasks([probing])
        return int(done.split()[-1])

    async def _probe_while_quiet(self, chunks: "_ChunkBuffer", stall: asyncio.Timeout) -> None:
        """End the timeout as soon as the server process can send nothing more, and the reader still gets nothing.

        A server that doesn't respond on the new connection either can be suspended, and continue later.
        """
        while True:
            await asyncio.sleep(_PROBE_AFTER_S)
            packets = chunks.packets
            if chunks.quiet_s() < _PROBE_AFTER_S:
                continue
            with suppress(OSError, *DRIVER_ERRORS):
                if await self._is_lost():
                    await asyncio.sleep(_ARRIVAL_S)
                    if chunks.packets == packets and chunks.quiet_s():
                        return stall.reschedule(asyncio.get_running_loop().time())

    def _options(self, key_range: KeyRange) -> dict[str, Any]:
        if self._source == "json_lines":
            return JSON_LINES
        return {"format": "csv", "header": self._source == "csv" and key_range == self._plan.ranges[0]}


class _ChunkBuffer:
    """Combines packets into chunks. Each packet postpones the timeout, which doesn't include the wait for `put`."""

    def __init__(self, put: Callable[[bytes], Awaitable[None]], stall: asyncio.Timeout) -> None:
        self._put = put
        self._stall = stall
        self._packets: list[bytes] = []
        self._size = 0  # bytes
        self._clock_s = asyncio.get_running_loop().time
        self._quiet_since_s = self._clock_s()
        self.packets = 0  # that have arrived

    def quiet_s(self) -> float:
        """Return how long the buffer has waited for a packet; 0 while it waits for `put`."""
        return max(0.0, self._clock_s() - self._quiet_since_s)

    async def add(self, packet: bytes) -> None:
        """Add a packet. The sender waits until this method returns."""
        self.packets += 1
        self._packets.append(packet)
        self._size += len(packet)
        if self._size >= _CHUNK_BYTES:
            await self.flush()
        elif len(packet) < _SMALL_PACKET_BYTES:
            await asyncio.sleep(_GATHER_S)
        self._quiet_since_s = self._clock_s()
        self._stall.reschedule(self._quiet_since_s + _STALL_TIMEOUT_S)

    async def flush(self) -> None:
        """Pass all buffered packets on as one chunk."""
        chunk = b"".join(self._packets)
        self._packets.clear()
        self._size = 0
        self._quiet_since_s = math.inf
        self._stall.reschedule(None)
        await self._put(chunk)
