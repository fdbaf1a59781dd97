-- Owners of cases, which uploads state, and the index that finds the cases of an owner.
ALTER TABLE cases ADD COLUMN owners text[] NOT NULL DEFAULT '{}'; -- at most 10 names

-- The cases of each owner: one row for each element of cases.owners. A condition on an array can't use an index, because of
-- row-level security.
CREATE TABLE case_owners (
    org_id     int NOT NULL REFERENCES organizations,
    case_key   bigint NOT NULL,
    owner      text NOT NULL,
    project_id text NOT NULL,
    PRIMARY KEY (org_id, case_key, owner)
);
CREATE INDEX case_owners_by_owner ON case_owners (org_id, owner, project_id, case_key);

ALTER TABLE case_owners ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON case_owners TO results_api USING (org_id = current_org());
GRANT SELECT ON case_owners TO results_api;
GRANT SELECT, INSERT, DELETE ON case_owners TO results_worker;
