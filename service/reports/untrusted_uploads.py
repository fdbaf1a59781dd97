"""The rules of untrusted uploads: which caller can upload to which run, and how much per day.

A public key isn't secret, so all of its refused requests get the same answer, which doesn't tell what exists.
"""

from collections.abc import Collection
from typing import NamedTuple

from service.artifacts import store as artifacts_store
from service.artifacts.model import ArtifactLimits
from service.artifacts.operations import FindOwner
from service.database.database import Connection
from service.domain.errors import Forbidden, Rejected, ServiceError
from service.domain.ids import CaseKey, OrgId, RunKey
from service.identity.keys.model import Caller
from service.projects import store as projects_store
from service.reports.model import UNTRUSTED_LIMITS_PER_DAY, StoredPart
from service.runs import store as runs_store
from service.runs.model import UNTRUSTED_PREFIX, UNTRUSTED_REFUSAL, is_untrusted_id


def refused() -> Forbidden:
    """Return the answer to each refused request of a public key."""
    return Forbidden(UNTRUSTED_REFUSAL)


def check_run_id(caller: Caller, run_id: str) -> None:
    """Raise Forbidden unless a caller of this role can upload to a run with this ID."""
    if caller.is_public and not is_untrusted_id(run_id):
        raise refused()
    if is_untrusted_id(run_id) and not caller.is_public:
        raise Forbidden(
            f"run_id: IDs that begin with {UNTRUSTED_PREFIX!r} are only for uploads with a key of the role public"
        )


async def check_run(connection: Connection, caller: Caller, run_id: str) -> None:
    """Raise Forbidden unless a caller of this role can upload to this run, which needn't exist."""
    check_run_id(caller, run_id)
    if not caller.is_public:
        return
    project_id = caller.project_id
    if project_id is None or not await projects_store.allows_untrusted(connection, caller.org_id, project_id):
        raise refused()
    if await runs_store.is_untrusted(connection, caller.org_id, run_id, project_id) is False:
        raise refused()


async def check_not_promoted(connection: Connection, caller: Caller, run_key: RunKey) -> None:
    """Prevent the promotion of a public key's run until the transaction ends. Raises Forbidden if it was promoted."""
    if caller.is_public and not await runs_store.lock_untrusted(connection, caller.org_id, run_key):
        raise refused()


def for_caller(caller: Caller, find_owner: FindOwner) -> FindOwner:
    """Return a function like `find_owner` that raises Forbidden unless a caller of this role can upload to the run."""

    async def find(connection: Connection) -> tuple[RunKey, CaseKey]:
        try:
            owner = await find_owner(connection)
        except ServiceError:
            if caller.is_public:
                raise refused() from None
            raise
        run_id = await runs_store.find_run_id(connection, caller.org_id, owner[0])
        await check_run(connection, caller, run_id or "")
        return owner

    return find


class UploadQuota(NamedTuple):
    """The limits of uploads per day.

    `holder` is what they count for: a key, a trusted publisher, a person, or the project of a public key.
    """

    org_id: OrgId
    holder: str
    limits: ArtifactLimits

    async def check(self, connection: Connection, files: int, size: int) -> None:
        """Raise RateLimitExceeded if further files with `size` bytes together exceed a limit of the day."""
        usage = await artifacts_store.find(connection, self.org_id, self.holder)
        self.limits.check(usage._replace(files=usage.files + files, bytes=usage.bytes + size))

    async def add(self, connection: Connection, files: Collection[StoredPart]) -> None:
        """Add uploaded files to the files of the day. Raises RateLimitExceeded if they exceed a limit of the day."""
        if files:
            size = sum(file.size for file in files)
            self.limits.check(await artifacts_store.add(connection, self.org_id, self.holder, len(files), size))


class ResultQuota(NamedTuple):
    """What an untrusted report stores: results, attempts, and artifacts, with `size` bytes; limited per day."""

    org_id: OrgId
    project_id: str
    rows: int
    size: int

    async def check(self, connection: Connection) -> None:
        """Raise Rejected if the report exceeds a limit of the day, before its cases are stored."""
        usage = await artifacts_store.find(connection, self.org_id, self._holder)
        _check_results(usage.files + self.rows, usage.bytes + self.size)

    async def add(self, connection: Connection) -> None:
        """Add the report to the reports of the day. Raises Rejected if they exceed a limit of the day."""
        usage = await artifacts_store.add(connection, self.org_id, self._holder, self.rows, self.size)
        _check_results(usage.files, usage.bytes)

    @property
    def _holder(self) -> str:
        return f"untrusted-results:{self.project_id}"


def _check_results(rows: int, size: int) -> None:
    limits = UNTRUSTED_LIMITS_PER_DAY
    if rows > limits.max_rows or size > limits.max_unpacked_bytes:
        raise Rejected(
            "too_large",
            f"the untrusted reports of a project store at most {limits.max_rows} results, attempts, and artifacts, and"
            f" {limits.max_unpacked_bytes} bytes per day in UTC. Upload the report again after 00:00 UTC",
        )


def quota_of(caller: Caller, limits: ArtifactLimits, untrusted: ArtifactLimits) -> UploadQuota:
    """Return the quota of a caller. The quota of a public key is its project's, with the limits of untrusted uploads.

    The jobs of a publisher share its quota, because each of them can get any number of keys.
    """
    if caller.is_public:
        return UploadQuota(caller.org_id, f"{UNTRUSTED_PREFIX}{caller.project_id}", untrusted)
    return UploadQuota(caller.org_id, caller.actor_id, limits)
