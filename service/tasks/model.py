"""Tasks: an export or an uploaded report that one worker leases at a time, and the queues and roles of consumers."""

from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from service.domain.ids import OrgId


class Lease(NamedTuple):
    """The lease of a task: the right of one worker to process it. Every write checks the fencing token."""

    org_id: OrgId
    task_id: str
    token: UUID


RUNS: Final = "results.runs"  # run-completion events of producers
EXPORTS: Final = "results.exports"  # an export was queued: {"org_id", "export_id"}
REPORTS: Final = "results.reports"  # an uploaded report was queued: {"org_id", "receipt_id"}

QUEUES: Final = (RUNS, EXPORTS, REPORTS)

EventSizes = Literal["all", "small", "large"]  # events that a consumer with the role `runs` stores

ConsumerRole = Literal["runs", "reports", "exports", "webhooks", "relay", "upkeep"]
CONSUMER_ROLES: Final[tuple[ConsumerRole, ...]] = get_args(ConsumerRole)
