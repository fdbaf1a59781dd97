"""The runs that a CI job can change: those of its pipeline and branch, as its token states them."""

from service.domain.ids import RunKey
from service.domain.job_claims import check_origin
from service.domain.keys import Caller, permissions_of
from service.domain.untrusted import is_untrusted_id
from service.store import runs
from service.store.postgres.database import Connection


async def check_run_of_job(connection: Connection, caller: Caller, run: str | RunKey) -> None:
    """Raise Forbidden if the caller is a CI job, and the run, given by its ID or key, is stored by another one.

    The jobs of a pipeline share their runs. A run without a pipeline or branch is one of another producer. A run of a
    fork is from another pipeline than the job that promotes it and applies a gate.
    """
    if caller.job is None:
        return
    stored = await runs.find_origin(connection, caller.org_id, run, caller.project_id)
    is_of_fork = stored is not None and is_untrusted_id(str(stored["run_id"]))
    if stored is not None and not (is_of_fork and "runs:promote" in permissions_of(caller.role)):
        check_origin(caller.job, str(stored["run_id"]), stored)
