-- Where a run comes from. Runs that an earlier version stored have none of these values.
ALTER TABLE runs ADD COLUMN pipeline text, ADD COLUMN title text, ADD COLUMN author text, ADD COLUMN workflow text,
    ADD COLUMN job_url text, ADD COLUMN repository_url text;

CREATE INDEX runs_by_pull_request ON runs (org_id, pull_request, run_key) WHERE pull_request IS NOT NULL;
CREATE INDEX runs_by_author ON runs (org_id, author, run_key) WHERE author IS NOT NULL;
CREATE INDEX runs_by_pipeline ON runs (org_id, pipeline, run_key) WHERE pipeline IS NOT NULL;

ALTER TABLE projects ADD COLUMN code_url_pattern text;
GRANT UPDATE (code_url_pattern) ON projects TO results_api;
