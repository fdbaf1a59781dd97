-- States of cases: healthy, flaky, or broken on the default branch.

-- The unhealthy cases of each environment on the default branch. A case without a row is healthy.
CREATE TABLE case_states (
    org_id      int NOT NULL REFERENCES organizations,
    case_key    bigint NOT NULL,
    project_id  text NOT NULL,
    environment text NOT NULL,               -- empty: none
    state       text NOT NULL CHECK (state IN ('flaky', 'broken')),
    PRIMARY KEY (org_id, case_key, environment)
);
CREATE INDEX case_states_by_project ON case_states (org_id, project_id, environment, case_key);

-- The histories from which states follow: outcomes of the newest runs of the default branch in an environment.
CREATE TABLE case_histories (
    org_id      int NOT NULL REFERENCES organizations,
    project_id  text NOT NULL,
    environment text NOT NULL,               -- empty: none
    branch      text NOT NULL,               -- the default branch when the histories were read
    newest_run  uuid NOT NULL,
    run_keys    uuid[] NOT NULL,
    document    bytea NOT NULL,              -- compressed JSON: states/histories.py
    PRIMARY KEY (org_id, project_id, environment)
);
ALTER TABLE case_histories ALTER COLUMN document SET STORAGE EXTERNAL; -- it is compressed already

-- How far states follow the event stream of each organization.
CREATE TABLE state_positions (
    org_id       int PRIMARY KEY REFERENCES organizations,
    event_number bigint,                     -- null: all histories must be compared with the stored runs
    requests     int NOT NULL DEFAULT 0      -- number of times that this was requested
);

ALTER TABLE case_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_histories ENABLE ROW LEVEL SECURITY;
ALTER TABLE state_positions ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON case_states    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON case_histories TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON state_positions TO results_api USING (org_id = current_org());

GRANT SELECT ON case_states, case_histories TO results_api;
GRANT SELECT, INSERT, UPDATE ON state_positions TO results_api; -- a change of the default branch
GRANT SELECT, INSERT, UPDATE, DELETE ON case_states, case_histories, state_positions TO results_worker;

-- Automatic quarantine: the policy of a project, and how far it is used.
ALTER TABLE projects
    ADD COLUMN auto_quarantine jsonb,        -- {"max_share", "days", "release_after_runs"}; null: none
    ADD COLUMN auto_quarantine_status jsonb; -- {"active", "limit", "waiting"} after the newest update of states
ALTER TABLE quarantines ADD COLUMN not_flaky_since uuid; -- the newest run when a case of the policy was no longer flaky

GRANT UPDATE (auto_quarantine) ON projects TO results_api;
GRANT UPDATE (auto_quarantine_status) ON projects TO results_worker;
GRANT INSERT ON quarantines TO results_worker; -- automatic quarantine
