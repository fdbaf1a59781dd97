-- Excuses: whether all failures of a part of a run are quarantined, so that its job may pass. Immutable, like decisions, and they outlive their run, so nothing refers to it.
CREATE TABLE excuses (
    org_id     int NOT NULL REFERENCES organizations,
    excuse_id  text NOT NULL,                -- exc_ + 32 hex digits, which start with the time
    project_id text NOT NULL,
    run_id     text NOT NULL,
    document   jsonb NOT NULL,               -- the other fields of Excuse in gates/contract.py
    digest     bytea NOT NULL,               -- SHA-256 of the run and the document: gates/excuse_part.py
    created_by text NOT NULL,                -- key_…, pub_…, or per_…
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, excuse_id),
    CONSTRAINT excuses_digest_unique UNIQUE (org_id, digest)
);
CREATE INDEX excuses_by_run ON excuses (org_id, run_id, excuse_id);

ALTER TABLE excuses ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON excuses TO results_api USING (org_id = current_org());

GRANT SELECT, INSERT ON excuses TO results_api;
GRANT SELECT, DELETE ON excuses TO results_worker; -- the deletion of an organization
