"""Claims and leases of jobs as rows. Exports and reports are jobs; their SQL files define the same statements."""

from datetime import timedelta
from typing import Final

from service.domain.jobs import Claim
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements


class JobTable:
    """A table of jobs. Each write checks the claim and changes nothing if the claim is lost.

    The SQL file of the noun defines `renew_lease`, `retry`, and `release`. `columns` are the values of further columns
    that the statement of this table sets, such as the progress of an export.
    """

    def __init__(self, noun: str) -> None:
        self._sql = statements(noun)

    async def renew_lease(self, connection: Connection, claim: Claim, duration: timedelta, *columns: object) -> bool:
        """Extend the lease to `duration` from now. Return False if the claim is lost."""
        return await connection.fetchval(self._sql["renew_lease"], *claim, duration, *columns) is not None

    async def retry(self, connection: Connection, claim: Claim, delay: timedelta, *columns: object) -> None:
        """Return the job to the queue. The next attempt starts after the delay."""
        await connection.execute(self._sql["retry"], *claim, delay, *columns)

    async def release(self, connection: Connection, claim: Claim, delay: timedelta = timedelta()) -> None:
        """Return the job to the queue without counting the attempt."""
        await connection.execute(self._sql["release"], *claim, delay)


EXPORT_JOBS: Final = JobTable("exports")
REPORT_JOBS: Final = JobTable("reports")
