-- The indexes that 0012 replaces.

DROP INDEX result_details_by_status_without_fingerprint;
DROP INDEX result_details_by_fingerprint;
