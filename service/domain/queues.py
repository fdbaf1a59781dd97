"""The names that all processes share: the queues between them, and the consumer roles."""

from typing import Final, Literal, get_args

RUNS: Final = "results.runs"  # run-completion events of producers
EXPORTS: Final = "results.exports"  # an export job was queued: {"org_id", "export_id"}
REPORTS: Final = "results.reports"  # an uploaded report was queued: {"org_id", "receipt_id"}

QUEUES: Final = (RUNS, EXPORTS, REPORTS)

EventSizes = Literal["all", "small", "large"]  # events that a consumer with the role `runs` stores

ConsumerRole = Literal["runs", "reports", "exports", "webhooks", "relay", "upkeep"]
CONSUMER_ROLES: Final[tuple[ConsumerRole, ...]] = get_args(ConsumerRole)
