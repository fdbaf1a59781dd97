"""The queues between our own processes, by the names that use cases and consumers share."""

from typing import Final

EXPORTS: Final = "results.exports"  # an export job waits: {"org_id", "export_id"}
REPORTS: Final = "results.reports"  # an uploaded report waits: {"org_id", "receipt_id"}

JOB_QUEUES: Final = (EXPORTS, REPORTS)
