-- Gates with versioned policies, and the decisions of gates about runs.

-- Gates. A deleted gate keeps its row, so that its version never restarts.
CREATE TABLE gates (
    org_id     int NOT NULL REFERENCES organizations,
    name       text NOT NULL,
    version    int NOT NULL DEFAULT 1,       -- rises only if the policy changes
    policy     jsonb NOT NULL,               -- the limits that are set: Policy in gates/model.py
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (org_id, name)
);

-- Decisions of gates about runs: immutable except for a waiver. They outlive their run, so nothing refers to it.
CREATE TABLE decisions (
    org_id          int NOT NULL REFERENCES organizations,
    decision_id     text NOT NULL,           -- dec_ + 32 hex digits, which start with the time
    project_id      text NOT NULL,
    run_id          text NOT NULL,
    revision        int NOT NULL,            -- of the run
    gate            text NOT NULL,
    gate_version    int NOT NULL,
    policy          jsonb NOT NULL,
    baseline_run_id text,
    decision        text NOT NULL CHECK (decision IN ('passed', 'blocked', 'waived')),
    rules           jsonb NOT NULL,          -- [{rule, limit, value, passed}]
    failures        jsonb NOT NULL,          -- number of failing results by change
    digest          bytea NOT NULL,          -- SHA-256 of the inputs: gates/operations.py
    waiver          jsonb,                   -- {reason, created_by, created_at}
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, decision_id),
    CONSTRAINT decisions_digest_unique UNIQUE (org_id, gate, digest),
    CHECK ((decision = 'waived') = (waiver IS NOT NULL))
);
CREATE INDEX decisions_by_run ON decisions (org_id, run_id, decision_id);
CREATE INDEX decisions_by_gate ON decisions (org_id, gate, decision_id);
CREATE INDEX decisions_by_project ON decisions (org_id, project_id, decision_id);

ALTER TABLE gates     ENABLE ROW LEVEL SECURITY;
ALTER TABLE decisions ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON gates     TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON decisions TO results_api USING (org_id = current_org());

GRANT SELECT, INSERT, UPDATE ON gates TO results_api;
GRANT SELECT, INSERT, UPDATE (decision, waiver) ON decisions TO results_api;
GRANT SELECT, DELETE ON gates, decisions TO results_worker; -- the deletion of an organization
