-- For the filter of the list of receipts. In its own transaction, so that requests can read receipts meanwhile.
CREATE INDEX receipts_by_pipeline ON receipts (org_id, pipeline, receipt_id) WHERE pipeline IS NOT NULL;
