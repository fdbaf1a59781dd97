-- A recorded policy of a request has no gate. Equal digests of such decisions conflict like those of one gate.
ALTER TABLE decisions
    ALTER COLUMN gate DROP NOT NULL,
    ALTER COLUMN gate_version DROP NOT NULL,
    DROP CONSTRAINT decisions_digest_unique,
    ADD CONSTRAINT decisions_digest_unique UNIQUE NULLS NOT DISTINCT (org_id, gate, digest),
    ADD CONSTRAINT decisions_gate_version CHECK ((gate IS NULL) = (gate_version IS NULL)),
    ADD CONSTRAINT decisions_waiver_of_gate CHECK (gate IS NOT NULL OR waiver IS NULL);

-- Whether only the first failing cases were searched in the complete window. Null in decisions of earlier versions.
ALTER TABLE decisions ADD COLUMN truncated bool;

-- A project that a client deletes: upkeep deletes its rows in steps. Until then, no transaction stores runs of the project.
ALTER TABLE projects ADD COLUMN deletion_requested_at timestamptz;
ALTER TABLE projects ADD COLUMN deleted_projects int NOT NULL DEFAULT 0;
CREATE INDEX projects_deleted ON projects (org_id, project_id) WHERE deletion_requested_at IS NOT NULL;
ALTER TABLE organizations ADD COLUMN deleted_projects int NOT NULL DEFAULT 0;
GRANT UPDATE (deletion_requested_at) ON projects TO results_api, results_worker; -- the worker locks rows
