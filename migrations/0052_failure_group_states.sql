-- The lifecycle of failure groups on the default branch, and the digests that were published.
CREATE TABLE failure_group_states (
    org_id          int NOT NULL REFERENCES organizations,
    fingerprint     bigint NOT NULL,
    project_id      text NOT NULL,
    environments    text[] NOT NULL,         -- in which the group fails; an empty name: none. Without elements, it is resolved
    opened_at       timestamptz NOT NULL,    -- completion of the first run that failed since the group was last resolved
    opened_run_id   text NOT NULL,
    last_run_id     text NOT NULL,           -- the newest run that failed
    resolved_at     timestamptz,             -- null: open
    resolved_run_id text,                    -- null: open, or resolved by the deletion of runs
    PRIMARY KEY (org_id, fingerprint)
);
CREATE INDEX failure_group_states_by_project ON failure_group_states (org_id, project_id, resolved_at);

-- The branch whose failure groups are recorded. Without it, or after a change of the default branch, the groups that fail
-- already are recorded without events.
ALTER TABLE projects ADD COLUMN failure_groups_branch text;

CREATE TABLE digests (
    org_id     int NOT NULL REFERENCES organizations,
    project_id text NOT NULL,
    owner      text NOT NULL,                -- whose cases the digest contains; empty: all cases
    week       date NOT NULL,                -- its Monday
    PRIMARY KEY (org_id, project_id, owner, week)
);

ALTER TABLE failure_group_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE digests ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON failure_group_states TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON digests TO results_api USING (org_id = current_org());
GRANT SELECT ON failure_group_states TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON failure_group_states TO results_worker;
GRANT UPDATE (failure_groups_branch) ON projects TO results_worker;
GRANT SELECT, INSERT, DELETE ON digests TO results_worker;

-- A digest without an owner is only for webhooks without an owner, and the digest of an owner only for those with this owner.
CREATE OR REPLACE FUNCTION is_subscribed(
    hook webhooks, event_type text, event_project text, event_branch text, event_owners text[], event_state text
) RETURNS bool
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hook.events = '{}' OR event_type = ANY (hook.events))
       AND (hook.project_id IS NULL OR hook.project_id = event_project)
       AND (hook.branch IS NULL OR hook.branch = event_branch)
       AND (hook.owner IS NULL OR hook.owner = ANY (event_owners))
       AND (hook.state IS NULL OR hook.state = event_state)
       AND (event_type <> 'project.digest' OR event_owners IS NULL OR hook.owner IS NOT NULL);

-- Let upkeep record the groups that fail already.
UPDATE state_positions SET event_number = NULL, requests = requests + 1;
