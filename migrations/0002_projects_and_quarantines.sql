-- Projects with a default branch, and quarantines.

-- Projects: a project exists as soon as one of its runs is stored. Its last run is the newest one in `runs`.
CREATE TABLE projects (
    org_id         int NOT NULL REFERENCES organizations,
    project_id     text NOT NULL,
    default_branch text NOT NULL DEFAULT 'main',
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, project_id)
);
INSERT INTO projects (org_id, project_id, created_at)
SELECT org_id, project_id, min(created_at) FROM runs GROUP BY org_id, project_id;

-- Quarantines: they excuse the failures of matching cases in gates until they end or expire. A quarantine matches one case,
-- or the cases whose suite and name match the globs and whose variant contains all pairs. Decisions refer to it later.
CREATE TABLE quarantines (
    org_id        int NOT NULL REFERENCES organizations,
    quarantine_id text NOT NULL,             -- qua_ + 32 hex digits, which start with the time
    project_id    text NOT NULL,
    case_key      bigint,
    suite         text,                      -- glob, or null
    name          text,                      -- glob, or null
    variant       jsonb NOT NULL DEFAULT '{}',
    reason        text NOT NULL,
    owner         text,
    ticket_url    text,
    expires_at    timestamptz NOT NULL,
    created_by    text NOT NULL,             -- key_…
    created_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,               -- set by a request, not by the expiry
    is_expiry_published bool NOT NULL DEFAULT false, -- the event quarantine.expired was inserted
    PRIMARY KEY (org_id, quarantine_id),
    CHECK (CASE WHEN case_key IS NULL THEN coalesce(suite, name) IS NOT NULL
                ELSE coalesce(suite, name) IS NULL AND variant = '{}' END)
);
CREATE INDEX quarantines_by_project ON quarantines (org_id, project_id, quarantine_id);
CREATE INDEX quarantines_by_case ON quarantines (org_id, case_key) WHERE case_key IS NOT NULL;
CREATE INDEX quarantines_open ON quarantines (org_id, project_id, expires_at) WHERE ended_at IS NULL;
CREATE INDEX quarantines_expiring ON quarantines (expires_at) WHERE ended_at IS NULL AND NOT is_expiry_published;

ALTER TABLE projects    ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantines ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON projects    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON quarantines TO results_api USING (org_id = current_org());

GRANT SELECT, UPDATE (default_branch) ON projects TO results_api;
GRANT SELECT, INSERT, DELETE ON projects TO results_worker;
GRANT SELECT, INSERT, UPDATE ON quarantines TO results_api;
GRANT SELECT, UPDATE, DELETE ON quarantines TO results_worker;
