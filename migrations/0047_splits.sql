-- Splits: the plans that distribute items to parallel jobs, and the items that the uploads of jobs state. Upkeep deletes both after 30 days.
CREATE TABLE splits (
    org_id     int NOT NULL REFERENCES organizations,
    project_id text NOT NULL,
    key        text NOT NULL,
    pipeline   text NOT NULL,                -- empty: none
    run_id     text NOT NULL,                -- empty: none
    document   bytea NOT NULL,               -- the other fields of StoredSplit in splits/store.py, compressed JSON
    digest     bytea NOT NULL,               -- SHA-256 of the fields that a later request must repeat
    created_by text NOT NULL,                -- key_…, pub_…, or per_…
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, project_id, key, pipeline, run_id)
);
CREATE INDEX splits_by_pipeline ON splits (org_id, pipeline) WHERE pipeline <> '';
CREATE INDEX splits_by_run ON splits (org_id, run_id) WHERE run_id <> '';
CREATE INDEX splits_by_creation ON splits (created_at);

CREATE TABLE split_assignments (
    org_id     int NOT NULL REFERENCES organizations,
    receipt_id text NOT NULL,                -- of the upload that states the assignment
    key        text NOT NULL,
    project_id text NOT NULL,
    pipeline   text NOT NULL,                -- of the split; empty: none
    run_id     text NOT NULL,                -- of the split; empty: none
    document   bytea NOT NULL,               -- the other fields of AssignmentIn in splits/contract.py, compressed JSON
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, receipt_id, key)
);
CREATE INDEX split_assignments_by_pipeline ON split_assignments (org_id, pipeline) WHERE pipeline <> '';
CREATE INDEX split_assignments_by_run ON split_assignments (org_id, run_id) WHERE run_id <> '';
CREATE INDEX split_assignments_by_creation ON split_assignments (created_at);

ALTER TABLE splits            ENABLE ROW LEVEL SECURITY;
ALTER TABLE split_assignments ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON splits            TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON split_assignments TO results_api USING (org_id = current_org());

GRANT SELECT, INSERT ON splits, split_assignments TO results_api;
GRANT SELECT, DELETE ON splits, split_assignments TO results_worker; -- retention, and deletions
