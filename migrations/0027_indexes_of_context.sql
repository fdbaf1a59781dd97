-- For the filters of the lists of runs. In their own transaction, so that requests can read runs meanwhile.
CREATE INDEX runs_by_pull_request ON runs (org_id, pull_request, run_key) WHERE pull_request IS NOT NULL;
CREATE INDEX runs_by_author ON runs (org_id, author, run_key) WHERE author IS NOT NULL;
CREATE INDEX runs_by_pipeline ON runs (org_id, pipeline, run_key) WHERE pipeline IS NOT NULL;
