-- The index of failure groups without skipped and canceled results, which have no fingerprint. The next migration drops the
-- previous index in its own transaction: it locks the table completely, but only briefly.

ALTER INDEX result_details_by_fingerprint RENAME TO result_details_with_or_without_fingerprint;
CREATE INDEX result_details_by_fingerprint ON result_details (org_id, fingerprint, run_key) WHERE fingerprint IS NOT NULL;
