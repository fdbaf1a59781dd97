"""The database engines: PostgreSQL, and Citus, which distributes tables by organization over several servers.

All differences between them are here: the rest of the package uses the engine of its connection. On Citus, the tables
in DISTRIBUTED_TABLES are on the workers. The other tables are on the coordinator, to which all clients connect.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from service.database.asyncpg_internals import BEGIN, COMMIT, READ_ONLY, StatementScopes
from service.database.connections import ScopedConnection
from service.database.statements import statements
from service.domain.ids import OrgId

EngineName = Literal["postgresql", "citus"]

RequestedRow = tuple[OrgId, *tuple[object, ...]]

# In the order in which they are distributed. Their keys start with org_id, and nothing refers to them.
DISTRIBUTED_TABLES: Final = (
    "runs", "cases", "projects", "failure_tickets", "results", "result_details", "shard_results",
    "artifacts", "failure_group_minutes", "run_parts", "case_states", "case_histories",
    "case_owners", "failure_group_states", "cost_days", "case_costs", "job_costs", "cost_changes",
)  # fmt: skip

# Settings of the roles with which the coordinator connects to the workers. They don't get the settings of a session.
WORKER_SESSIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "results_api": {"jit": "off", "enable_bitmapscan": "off", "random_page_cost": "1.1"},
    "results_worker": {"jit": "off", "lock_timeout": "5s"},
    "results_owner": {"jit": "off", "lock_timeout": "2s"},
}

_MARKED_COMMIT: Final = "DELETE FROM commit_mark WHERE id = 0; COMMIT;"
_UNCLASSIFIED: Final = "XX000"
_NO_PARTITION: Final = "no partition of relation"

_SQL: Final = statements("database", "citus")


class CitusConnection(StatementScopes, ScopedConnection):
    """A connection to a coordinator, whose transactions state their organization and mark their commit.

    Workers learn the organization only from SET LOCAL in a transaction, so a statement outside of a transaction gets
    its own. SET LOCAL is a command of its own: Citus forwards the complete text of a command, so that each worker
    would warn about a BEGIN in the same text.

    Citus commits in two phases only if the transaction has also written a table that Citus manages on the coordinator.
    Otherwise, a crash of the coordinator can leave a run whose events are missing. The mark is such a write: it deletes
    no row of the empty table commit_mark.
    """

    __slots__ = ("_is_marked",)

    is_distributed = True

    async def act_as(self, org_id: OrgId) -> None:
        """Set the organization of the next transactions."""
        self._organization = org_id

    def record_release(self) -> None:
        """Record that the connection is idle, and that its next user hasn't set an organization."""
        self._organization = None
        super().record_release()

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 of the driver
        """Execute a command. Set the organization after BEGIN, and add the mark to the COMMIT of the driver."""
        if query.startswith(BEGIN):
            self._is_marked = READ_ONLY not in query
            status = await super().execute(query, *args, timeout=timeout)
            if self.organization is not None:
                await super().execute(_set_organization(self.organization), timeout=timeout)
            return status
        if query == COMMIT and self._is_marked:
            query = _MARKED_COMMIT
        return await super().execute(query, *args, timeout=timeout)

    def statement_scope(self) -> AbstractAsyncContextManager[None] | None:
        """Return a transaction for a statement that needs an organization and isn't in a transaction."""
        return None if self.organization is None or self.is_in_transaction() else self._unmarked_transaction()

    @asynccontextmanager
    async def _unmarked_transaction(self) -> AsyncIterator[None]:
        async with self.transaction():
            self._is_marked = False  # one statement doesn't write both to a worker and to the coordinator
            yield


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine with its differences. The defaults are those of PostgreSQL."""

    name: EngineName
    is_distributed: bool = False
    connection_class: type[ScopedConnection] = ScopedConnection
    session: Mapping[str, str] = field(default_factory=dict)  # settings of each connection
    requested_row: Mapping[str, str] = field(default_factory=dict)  # fragments of statements about requested rows
    run_of_receipt: Mapping[str, str] = field(default_factory=dict)  # fragments of the page of receipts
    max_export_readers: int | None = None  # a snapshot of the coordinator doesn't apply to the workers
    detaches_concurrently: bool = True

    def split(self, requested: Iterable[RequestedRow]) -> Iterable[Sequence[RequestedRow]]:
        """Return the requested rows in parts for one statement each: all rows, or those of one organization."""
        rows = list(requested)
        if not self.is_distributed:
            return [rows] if rows else []
        return [list(part) for _, part in groupby(sorted(rows, key=itemgetter(0)), itemgetter(0))]

    def limit_readers(self, readers: int) -> int:
        """Return the number of readers of an export."""
        return min(readers, self.max_export_readers or readers)


POSTGRESQL: Final = Engine("postgresql")
CITUS: Final = Engine(
    "citus",
    is_distributed=True,
    connection_class=CitusConnection,
    session={
        "citus.propagate_set_commands": "local",
        "plan_cache_mode": "auto",  # with a generic plan, Citus doesn't find the shard of the values
        # Otherwise, Citus checks every table for each query of the catalog: the first query of a connection needs 2 s.
        "citus.override_table_visibility": "off",
        "citus.node_connection_timeout": "5s",  # to a worker: the only wait for one that hangs that Citus limits
    },
    requested_row={"requested_organization": "one_organization"},
    run_of_receipt={"run_is_of_project": "run_is_one_of_project"},
    max_export_readers=1,
    detaches_concurrently=False,
)
ENGINES: Final[Mapping[EngineName, Engine]] = {engine.name: engine for engine in (POSTGRESQL, CITUS)}


def engine_of(connection: asyncpg.Connection | PoolConnectionProxy) -> Engine:
    """Return the engine of a connection."""
    return CITUS if getattr(connection, "is_distributed", False) else POSTGRESQL


def is_missing_partition(error: asyncpg.PostgresError) -> bool:
    """Return whether a row has no partition. The error of a worker in a COPY has lost its SQLSTATE code."""
    if isinstance(error, asyncpg.CheckViolationError):
        return not error.constraint_name
    return error.sqlstate == _UNCLASSIFIED and _NO_PARTITION in str(error)


def _set_organization(org_id: OrgId | None) -> str:
    return f"SET LOCAL app.org_id = '{org_id}'"


class EngineMismatch(ConnectionError):
    """The server doesn't have the engine of the setting. Don't execute statements, because they might find no rows."""


class TablesNotDistributed(EngineMismatch):
    """The server has the engine, and `schema distribute` hasn't distributed its tables yet."""


async def check_engine(connection: asyncpg.Connection, engine: Engine, *, has_citus: bool) -> None:
    """Raise EngineMismatch if the connection is to a server with another engine."""
    if not has_citus:
        if engine.is_distributed:
            raise EngineMismatch(f"is {engine.name}, and the database doesn't have the extension citus")
        return
    rows = await connection.fetch(_SQL["find_tables"], DISTRIBUTED_TABLES)
    tables = {row["name"]: row["is_distributed"] for row in rows}
    if any(tables.values()) and not engine.is_distributed:
        raise EngineMismatch(f"is {engine.name}, and the tables of the database are distributed by Citus")
    if engine.is_distributed and not all(tables.values()):
        missing = ", ".join(sorted(name for name, is_distributed in tables.items() if not is_distributed))
        raise TablesNotDistributed(f"is {engine.name}, and these tables aren't distributed: {missing}")
