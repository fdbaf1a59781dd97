"""The queues between our own processes and the roles of those that serve them, by the names that all share."""

from typing import Final

EXPORTS: Final = "results.exports"  # an export job waits: {"org_id", "export_id"}
REPORTS: Final = "results.reports"  # an uploaded report waits: {"org_id", "receipt_id"}

JOB_QUEUES: Final = (EXPORTS, REPORTS)

CONSUMER_ROLES: Final = ("runs", "reports", "exports", "webhooks", "relay", "upkeep")
