-- Runs that forks upload with a key of the role public, which isn't secret. Processes of an earlier version insert null into
-- an unknown column of runs, so null means trusted. The other columns have constant defaults, so nothing is rewritten. The
-- table of keys is small, so the check of its rows takes milliseconds.
ALTER TABLE runs ADD COLUMN trusted bool;
ALTER TABLE cases ADD COLUMN trusted bool NOT NULL DEFAULT true, ADD COLUMN expires_on date;
ALTER TABLE projects ADD COLUMN untrusted_uploads bool NOT NULL DEFAULT false;
ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_role_check,
    ADD CONSTRAINT api_keys_role_check CHECK (role IN ('viewer', 'uploader', 'engineer', 'admin', 'public')),
    ADD CONSTRAINT api_keys_public_project CHECK (role <> 'public' OR project_id IS NOT NULL);

GRANT UPDATE (untrusted_uploads) ON projects TO results_api;
GRANT UPDATE (trusted, pull_request, base_branch, field_versions) ON runs TO results_api;
GRANT UPDATE (trusted, expires_on) ON cases TO results_api;
GRANT INSERT ON failure_group_minutes TO results_api;
GRANT INSERT, UPDATE ON artifact_usage TO results_worker;
