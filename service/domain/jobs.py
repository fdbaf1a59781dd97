"""Claims of jobs. A job is an export or an uploaded report that one worker processes at a time."""

from typing import NamedTuple
from uuid import UUID

from service.domain.ids import OrgId


class Claim(NamedTuple):
    """The exclusive, time-limited right of one worker to process a job. Every write checks the fencing token."""

    org_id: OrgId
    job_id: str
    token: UUID
