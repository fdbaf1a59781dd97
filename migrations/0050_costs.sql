-- Costs: the sums of results, executions, and durations of each day or month, per case and per CI job.

-- The days and months of each project that are rolled up. A month replaces its days. Upkeep writes all costs.
CREATE TABLE cost_days (
    org_id            int NOT NULL REFERENCES organizations,
    project_id        text NOT NULL,
    start             date NOT NULL,         -- in UTC
    is_month          bool NOT NULL,
    runs              int NOT NULL,          -- trusted runs that completed on these days
    passed            bigint NOT NULL,       -- results by status; the sums are those of case_costs
    failed            bigint NOT NULL,
    error             bigint NOT NULL,
    skipped           bigint NOT NULL,
    canceled          bigint NOT NULL,
    flaky             bigint NOT NULL,       -- some of those that passed
    attempts          bigint NOT NULL,       -- executions
    unknown_durations bigint NOT NULL,       -- executions without a duration
    duration_ms       bigint NOT NULL,       -- of all executions
    retry_ms          bigint NOT NULL,       -- of failing executions that were repeated in their run
    PRIMARY KEY (org_id, project_id, start)
);

CREATE TABLE case_costs (
    org_id            int NOT NULL REFERENCES organizations,
    start             date NOT NULL,
    case_key          bigint NOT NULL,
    duration_ms       bigint NOT NULL,
    retry_ms          bigint NOT NULL,
    passed            int NOT NULL,
    failed            int NOT NULL,
    error             int NOT NULL,
    skipped           int NOT NULL,
    canceled          int NOT NULL,
    flaky             int NOT NULL,
    attempts          int NOT NULL,
    unknown_durations int NOT NULL,
    project_id        text NOT NULL,
    PRIMARY KEY (org_id, project_id, start, case_key)
);

CREATE TABLE job_costs (
    org_id            int NOT NULL REFERENCES organizations,
    project_id        text NOT NULL,
    start             date NOT NULL,
    job               text NOT NULL,         -- name of the part of a run; empty: none
    passed            bigint NOT NULL,       -- results that the job decides
    failed            bigint NOT NULL,
    error             bigint NOT NULL,
    skipped           bigint NOT NULL,
    canceled          bigint NOT NULL,
    flaky             bigint NOT NULL,
    attempts          bigint NOT NULL,       -- executions of the job
    unknown_durations bigint NOT NULL,
    duration_ms       bigint NOT NULL,
    retry_ms          bigint NOT NULL,
    PRIMARY KEY (org_id, project_id, start, job)
);

-- The earlier days whose runs changed. No key is unique, so that ingest never waits for upkeep, which deletes the rows.
CREATE TABLE cost_changes (
    org_id     int NOT NULL REFERENCES organizations,
    project_id text NOT NULL,
    day        date NOT NULL                 -- in UTC
);
CREATE INDEX cost_changes_by_day ON cost_changes (org_id, project_id, day);
ALTER TABLE cost_changes REPLICA IDENTITY FULL;

ALTER TABLE cost_days    ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_costs   ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_costs    ENABLE ROW LEVEL SECURITY;
ALTER TABLE cost_changes ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON cost_days    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON case_costs   TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON job_costs    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON cost_changes TO results_api USING (org_id = current_org());

GRANT SELECT ON cost_days, case_costs, job_costs TO results_api;
GRANT SELECT, INSERT ON cost_changes TO results_api; -- the deletion of a run
GRANT SELECT, INSERT, DELETE ON cost_days, case_costs, job_costs, cost_changes TO results_worker;
