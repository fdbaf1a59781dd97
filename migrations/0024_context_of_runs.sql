-- Where a run comes from. Runs that an earlier version stored have none of these values.
ALTER TABLE runs ADD COLUMN pipeline text, ADD COLUMN title text, ADD COLUMN author text, ADD COLUMN workflow text,
    ADD COLUMN job_url text, ADD COLUMN repository_url text;

ALTER TABLE projects ADD COLUMN code_url_pattern text;
GRANT UPDATE (code_url_pattern) ON projects TO results_api;
