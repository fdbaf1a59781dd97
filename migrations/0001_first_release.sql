-- The schema of the first release, as schema.sql was then. It never changes.

-- Roles ---------------------------------------------------------------------------------------------------
-- One login reaches all three by SET ROLE. Roles belong to the cluster, so another database may have made them.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'results_api NOLOGIN NOBYPASSRLS',  -- requests and exports: one organization at a time
        'results_worker NOLOGIN BYPASSRLS', -- ingest and the other consumers: COPY FROM is refused under a policy
        'results_keys NOLOGIN NOBYPASSRLS'  -- owns find_key, reads api_keys and nothing else
    ] LOOP
        BEGIN
            EXECUTE 'CREATE ROLE ' || wanted;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    FOREACH wanted IN ARRAY ARRAY['results_api', 'results_worker', 'results_keys'] LOOP
        IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END IF;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO results_api, results_worker, results_keys;

-- Functions that the tables and the statements need --------------------------------------------------------

-- The organization that this connection was set to, or null, which no row equals.
CREATE FUNCTION current_org() RETURNS int
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.org_id', true), '')::int;

-- RFC 3339 in UTC with milliseconds, as the API writes every time.
CREATE FUNCTION rfc3339(moment timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE STRICT
    RETURN to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- The status behind a stored letter. Not STRICT, nor is any other whose body is not strict itself: the planner could
-- not put the body in the place of the call, which then costs a microsecond a row.
CREATE FUNCTION status_name(letter "char") RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE letter WHEN 'p' THEN 'passed' WHEN 'f' THEN 'failed' WHEN 'e' THEN 'error'
                       WHEN 's' THEN 'skipped' WHEN 'c' THEN 'canceled' END;

-- Worse is higher; service/domain/statuses.py ranks the same way.
CREATE FUNCTION severity(letter "char") RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN strpos('pscfe', letter::text);

-- The public id of a result; service/domain/ids.py computes the same.
CREATE FUNCTION result_id(run_key uuid, case_key bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'res_' || replace(run_key::text, '-', '') || lpad(to_hex(case_key), 16, '0');

-- The public id of a case.
CREATE FUNCTION case_public_id(case_key bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'case_' || lpad(to_hex(case_key), 16, '0');

-- The public id of an artifact; service/domain/ids.py computes the same.
CREATE FUNCTION artifact_id(run_key uuid, case_key bigint, artifact_key bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'art_' || replace(run_key::text, '-', '') || lpad(to_hex(case_key), 16, '0')
                  || lpad(to_hex(artifact_key), 16, '0');

-- The first line of a text that says something, at most 200 characters; null where nothing does.
CREATE FUNCTION first_line(said text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN nullif(left(rtrim(split_part(btrim(said, E' \t\r\n'), E'\n', 1), E' \t\r'), 200), '');

-- The smallest run_key of a moment: its first 48 bits are the milliseconds since 1970.
CREATE FUNCTION first_run_key(moment timestamptz) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE STRICT
    RETURN (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- Tenants and their keys -----------------------------------------------------------------------------------

CREATE TABLE organizations (
    org_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug       text NOT NULL CONSTRAINT organizations_slug_unique UNIQUE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_pruned_event_number bigint NOT NULL DEFAULT 0  -- the last number among its events that are deleted
);

CREATE TABLE api_keys (
    org_id              int NOT NULL REFERENCES organizations,
    key_id              text NOT NULL,       -- key_ + 20 hex digits, also the middle of the key itself
    name                text NOT NULL,
    role                text NOT NULL CHECK (role IN ('viewer', 'engineer', 'admin')),
    project_id          text,                -- the one project that the key is bound to, or null
    secret_sha256       bytea NOT NULL,
    previous_sha256     bytea,               -- the secret before the last rotation
    previous_expires_at timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz,
    revoked_at          timestamptz,
    last_used_at        timestamptz,         -- written at most once a minute
    PRIMARY KEY (org_id, key_id)
);
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (key_id);  -- for find_key: a request names its key, not its organization

-- Runs and cases: the dimensions ---------------------------------------------------------------------------

CREATE TABLE runs (
    org_id            int NOT NULL REFERENCES organizations,
    run_key           uuid NOT NULL,         -- 48 bits of completed_at in ms, then a hash of (organization, run_id)
    run_id            text NOT NULL,         -- the producer's own
    project_id        text NOT NULL,
    environment       text,
    branch            text,
    commit_sha        text,
    ci_url            text,
    labels            jsonb NOT NULL DEFAULT '{}',
    status            "char" NOT NULL CHECK (status IN ('p', 'f', 'e', 'c')),
    stated_status "char",                -- what a producer said, null where the results decide
    status_event_s bigint NOT NULL,       -- time of the event that said so, in s since 1970 (domain/runs.py)
    passed            int NOT NULL DEFAULT 0,
    failed            int NOT NULL DEFAULT 0,
    error             int NOT NULL DEFAULT 0,
    skipped           int NOT NULL DEFAULT 0,
    canceled          int NOT NULL DEFAULT 0,
    flaky             int NOT NULL DEFAULT 0,
    complete          bool NOT NULL,
    expected_results  int,
    expected_shards   int,
    shards            text[] NOT NULL DEFAULT '{}',
    started_at        timestamptz,
    completed_at      timestamptz NOT NULL,  -- of the first event seen; never changes, as run_key does not
    last_completed_at timestamptz NOT NULL,
    duration_ms       bigint,
    field_versions jsonb NOT NULL,        -- {"branch": s since 1970, …}: time of the event that each is from
    revision          int NOT NULL DEFAULT 1,
    results_expired   bool NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, run_key),
    CONSTRAINT runs_run_id_unique UNIQUE (org_id, run_id)
);
CREATE INDEX runs_by_environment ON runs (org_id, environment, run_key);
CREATE INDEX runs_by_branch ON runs (org_id, branch, run_key);
CREATE INDEX runs_by_project ON runs (org_id, project_id, run_key);
CREATE INDEX runs_by_project_and_branch ON runs (org_id, project_id, branch, run_key);
CREATE INDEX runs_with_failed ON runs (org_id, project_id, run_key) WHERE failed > 0;
CREATE INDEX runs_with_error ON runs (org_id, project_id, run_key) WHERE error > 0;
CREATE INDEX runs_with_skipped ON runs (org_id, project_id, run_key) WHERE skipped > 0;
CREATE INDEX runs_with_canceled ON runs (org_id, project_id, run_key) WHERE canceled > 0;

CREATE TABLE cases (
    org_id     int NOT NULL REFERENCES organizations,
    case_key   bigint NOT NULL,              -- hash of (project, case_id) or (project, suite, name, occurrence)
    project_id text NOT NULL,
    case_id    text,                         -- the producer's own, or null
    suite      text NOT NULL,
    name       text NOT NULL,
    file       text,
    occurrence int NOT NULL,                 -- 0, unless one suite holds the name several times
    -- A suite may be long; a hash keeps the index entry small, and the row says the rest. It is a column because a
    -- function in the condition (md5(suite) = …) is no index condition under row-level security.
    suite_hash bigint NOT NULL GENERATED ALWAYS AS (hashtextextended(suite, 0)) STORED,
    PRIMARY KEY (org_id, case_key)
);
-- With the project: the same case_id may stand in every one of thousands of projects.
CREATE INDEX cases_by_case_id ON cases (org_id, case_id, project_id) WHERE case_id IS NOT NULL;
CREATE INDEX cases_by_suite ON cases (org_id, project_id, suite_hash, case_key);

-- Results: the facts, partitioned by month -----------------------------------------------------------------
-- Columns stand in the order that leaves no padding. No foreign keys: ingest guarantees them, and a check per
-- row would cost more than the row.

CREATE TABLE results (
    case_key          bigint NOT NULL,
    run_key           uuid NOT NULL,
    org_id            int NOT NULL,
    duration_ms       int NOT NULL,
    started_offset_ms int,                   -- from the run's completed_at
    event_time_offset_s int NOT NULL,          -- time of the event that decided, in whole seconds from completed_at
    attempts          smallint NOT NULL,
    status            "char" NOT NULL,
    flaky             bool NOT NULL,
    PRIMARY KEY (org_id, run_key, case_key)
) PARTITION BY RANGE (run_key);

-- Where a result says more than a status: each non-passing or earlier attempt, or one with a log.
CREATE TABLE result_details (
    case_key          bigint NOT NULL,
    run_key           uuid NOT NULL,
    org_id            int NOT NULL,
    duration_ms       int NOT NULL,
    started_offset_ms int,
    attempt           smallint NOT NULL,     -- from 1
    status            "char" NOT NULL,
    is_last_attempt bool NOT NULL,         -- the last attempt, whose status is the result's
    type              text,
    message           text,
    details           text,
    logs_ref          text,
    PRIMARY KEY (org_id, run_key, case_key, attempt)
) PARTITION BY RANGE (run_key);
CREATE INDEX result_details_by_status ON result_details (org_id, status, run_key, case_key)
    WHERE is_last_attempt AND status <> 'p';
CREATE INDEX result_details_by_case ON result_details (org_id, case_key, run_key)
    WHERE is_last_attempt AND status <> 'p';

-- Files of a result (case_key) or of a run (case_key 0). A reference has a uri, stored bytes have a path.
CREATE TABLE artifacts (
    org_id       int NOT NULL,
    run_key      uuid NOT NULL,
    case_key     bigint NOT NULL,
    artifact_key bigint NOT NULL,            -- hash of the name
    kind         text NOT NULL,
    name         text NOT NULL,
    content_type text,
    size         bigint,                     -- bytes
    sha256       bytea,
    uri          text,                       -- the producer's words, shown as text
    path         text,                       -- where our own storage keeps it
    expires_at   timestamptz,                -- of an export's file
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, run_key, case_key, artifact_key)
) PARTITION BY RANGE (run_key);

-- What became of what came in ------------------------------------------------------------------------------

CREATE TABLE receipts (
    org_id      int NOT NULL REFERENCES organizations,
    receipt_id  text NOT NULL,
    source      text NOT NULL,
    event_id    text NOT NULL,
    body_sha256 bytea NOT NULL,
    status      text NOT NULL CHECK (status IN ('queued', 'processing', 'stored', 'partial', 'rejected')),
    run_id      text,
    results     int NOT NULL DEFAULT 0,      -- how many were stored
    problems    jsonb NOT NULL DEFAULT '[]', -- [{index, name, reason}]
    received_at timestamptz NOT NULL DEFAULT now(),
    -- Of uploaded reports alone. Whoever reads one holds a claim, which fences what it writes, until its lease runs out.
    project_id  text,
    upload      jsonb,                       -- what came with it: domain/reports.py
    attempt_count smallint NOT NULL DEFAULT 0,
    due_at      timestamptz,
    claim       uuid,
    lease_until timestamptz,
    PRIMARY KEY (org_id, receipt_id),
    CONSTRAINT receipts_event_unique UNIQUE (org_id, source, event_id)
);
CREATE INDEX receipts_by_run ON receipts (org_id, run_id, receipt_id);
CREATE INDEX receipts_by_event ON receipts (org_id, event_id);
CREATE INDEX receipts_open ON receipts (org_id, receipt_id) WHERE status IN ('queued', 'processing');
-- Whose the files of an upload are: they lie in inbox/<org_id>/<folder>/, and a receipt that is used again has new ones.
CREATE INDEX receipts_by_folder ON receipts (org_id, split_part(upload -> 'report' ->> 'path', '/', 3))
    WHERE upload IS NOT NULL;

-- Telling others --------------------------------------------------------------------------------------------

-- Facts, written in the transaction that made them true. The relay numbers committed rows, and readers follow
-- the numbers: nobody who follows can skip a row that was written early and committed late.
CREATE TABLE events (
    org_id     int NOT NULL,             -- no foreign keys here: what writes an event has its organization
    event_id   text NOT NULL,                -- evt_ + 32 hex digits, which begin with its time
    type       text NOT NULL,
    project_id text,                         -- of what it is about, or null
    run_id     text,
    data       json NOT NULL,                -- data.object, byte for byte what every receiver gets
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- so that those of one transaction keep their order
    number     bigint,                       -- its place in the stream, once it has one
    PRIMARY KEY (org_id, event_id)
);
CREATE UNIQUE INDEX events_by_number ON events (org_id, number) WHERE number IS NOT NULL;
CREATE INDEX events_unnumbered ON events (created_at, event_id) WHERE number IS NULL;
CREATE SEQUENCE event_numbers;

CREATE TABLE webhooks (
    org_id              int NOT NULL REFERENCES organizations,
    webhook_id          text NOT NULL,
    url                 text NOT NULL,
    description         text NOT NULL DEFAULT '',
    events              text[] NOT NULL DEFAULT '{}',  -- the types that it wants; all where empty
    project_id          text,                -- the one project that it wants, or null
    enabled             bool NOT NULL DEFAULT true,
    disabled_reason     text CHECK (disabled_reason IN ('by_request', 'failing', 'gone')),
    secret              text NOT NULL,       -- signs, so a hash of it would not do
    previous_secret     text,                -- signs too until previous_expires_at
    previous_expires_at timestamptz,
    failures            int NOT NULL DEFAULT 0,        -- in a row
    failing_since       timestamptz,
    paused_until        timestamptz,         -- the breaker: nothing goes out before
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, webhook_id)
);

-- One event on its way to one webhook. A claim moves due_at ahead: where the claimer dies, it comes due again.
CREATE TABLE deliveries (
    org_id      int NOT NULL,
    webhook_id  text NOT NULL,
    delivery_id text NOT NULL,               -- follows from webhook and event, so that an event has one
    event_id    text NOT NULL,
    status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'exhausted')),
    attempt_count smallint NOT NULL DEFAULT 0, -- since it was opened; a redelivery opens it again
    due_at      timestamptz DEFAULT now(),   -- null once it is over
    claim       uuid,                        -- fences what a claimer writes
    attempt_log jsonb NOT NULL DEFAULT '[]', -- [{at, status, latency_ms, error, response}]
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, webhook_id, delivery_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX deliveries_due ON deliveries (org_id, webhook_id, due_at) WHERE due_at IS NOT NULL;

-- Jobs that open again what a webhook has missed.
CREATE TABLE recoveries (
    org_id      int NOT NULL,
    webhook_id  text NOT NULL,
    recovery_id text NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL DEFAULT now(),
    status      text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded')),
    position    text NOT NULL,               -- the last event looked at
    recovered   int NOT NULL DEFAULT 0,      -- deliveries opened
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (org_id, webhook_id, recovery_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX recoveries_open ON recoveries (created_at) WHERE finished_at IS NULL;

-- The id of the one delivery of an event to a webhook; it begins with the time of the event.
CREATE FUNCTION delivery_id(webhook_id text, event_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'dlv_' || substr(event_id, 5, 12) || left(md5(webhook_id || event_id), 20);

-- Whether a webhook asked for events of this type about this project.
CREATE FUNCTION is_subscribed(hook webhooks, event_type text, event_project text) RETURNS bool
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hook.events = '{}' OR event_type = ANY (hook.events))
       AND (hook.project_id IS NULL OR hook.project_id = event_project);

-- Bulk exports ----------------------------------------------------------------------------------------------

-- A text as a cell of a spreadsheet, which would take it for a formula where it begins like one.
CREATE FUNCTION spreadsheet_cell(value text, as_it_is bool) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN as_it_is OR value = '' OR strpos(E'=+-@\t\r', left(value, 1)) = 0 THEN value
                ELSE '''' || value END;

-- Jobs. Whoever works on one holds a claim, which fences what it writes, until its lease runs out.
CREATE TABLE exports (
    org_id      int NOT NULL REFERENCES organizations,
    export_id   text NOT NULL,               -- exp_ + 32 hex digits, which begin with its time
    status      text NOT NULL DEFAULT 'queued'
                CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'expired')),
    request     jsonb NOT NULL,              -- as it was asked for: format, compression, columns, raw, filter
    project_id  text,                        -- that the filter names, or null
    run_id      text,
    attempt_count int NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL DEFAULT now(),
    claim       uuid,
    lease_until timestamptz,
    progress    real,                        -- 0 to 1, null where nobody can tell
    rows        bigint,
    size        bigint,                      -- bytes of the file
    sha256      bytea,                       -- of the file
    path        text,                        -- where our storage keeps the file
    error       text,                        -- for people; of the last try
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    expires_at  timestamptz,
    PRIMARY KEY (org_id, export_id)
);
CREATE INDEX exports_open ON exports (org_id, export_id) WHERE status IN ('queued', 'running');
CREATE INDEX exports_with_file ON exports (expires_at) WHERE path IS NOT NULL;

-- Messages between our own processes --------------------------------------------------------------------------
-- No tenant in these two: a message carries ids alone, and nobody but the relay reads them.

-- What a transaction wants sent. The relay publishes what is committed, and deletes it once the broker has confirmed;
-- without a broker it hands the messages to the consumers itself.
CREATE TABLE outbox (
    outbox_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue      text NOT NULL,
    payload    jsonb NOT NULL,               -- ids, and "v", the version of the payload
    attempt_count int NOT NULL DEFAULT 0,       -- that have failed
    due_at     timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_due ON outbox (due_at, outbox_id);

-- What could not be taken where there is no broker to keep it. They stay until someone replays or discards them.
CREATE TABLE dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue          text NOT NULL,
    payload        jsonb NOT NULL,
    reason         text NOT NULL,
    message        text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- What was answered to mutations that carried an Idempotency-Key, so that a repetition gets the same for 24 hours.
-- A secret that is shown once is not in the body that is kept.
CREATE TABLE idempotency_keys (
    org_id      int NOT NULL REFERENCES organizations,
    method      text NOT NULL,
    path        text NOT NULL,
    key         text NOT NULL,
    request_sha256 bytea NOT NULL,              -- SHA-256 of what was asked
    status      smallint NOT NULL,
    body        bytea NOT NULL,
    location    text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, method, path, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Who changed what: a row per mutation that was done, in its transaction.
CREATE TABLE audit_trail (
    org_id     int NOT NULL REFERENCES organizations,
    entry_id   bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,                -- key_… or "command line"
    action     text NOT NULL,                -- POST /v1/api-keys
    subject    text,                         -- what was made or changed, where the action does not say it
    request_id text,
    PRIMARY KEY (org_id, entry_id)
);

-- Which processes are alive; /readyz reads it. No tenant in it.
CREATE TABLE heartbeats (
    worker_id text PRIMARY KEY,              -- host:pid:role
    role      text NOT NULL,
    heartbeat_at   timestamptz NOT NULL DEFAULT now()
);

-- Which migrations this database has seen.
CREATE TABLE schema_migrations (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Partitions -----------------------------------------------------------------------------------------------

-- Makes the month's partitions where they are missing. CREATE and ATTACH lock nobody out, and a lock that
-- does not come within two seconds is given up rather than queued in front of everyone else.
CREATE FUNCTION create_month_partitions(month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '2s'
    SET client_min_messages = warning
AS $$
DECLARE
    parent text;
    child  text;
    low    uuid := first_run_key(date_trunc('month', month)::timestamp AT TIME ZONE 'UTC');
    high   uuid := first_run_key((date_trunc('month', month) + interval '1 month')::timestamp AT TIME ZONE 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('create_month_partitions'));
    FOREACH parent IN ARRAY ARRAY['results', 'result_details', 'artifacts'] LOOP
        child := parent || to_char(month, '_YYYY_MM');
        CONTINUE WHEN to_regclass('public.' || child) IS NOT NULL;
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', child, parent);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                       parent, child, low, high);
    END LOOP;
END $$;

-- Row-level security and grants -----------------------------------------------------------------------------
-- Grants name parents only: a partition read by its own name would escape the policy.

ALTER TABLE organizations  ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys       ENABLE ROW LEVEL SECURITY;
ALTER TABLE runs           ENABLE ROW LEVEL SECURITY;
ALTER TABLE cases          ENABLE ROW LEVEL SECURITY;
ALTER TABLE results        ENABLE ROW LEVEL SECURITY;
ALTER TABLE result_details ENABLE ROW LEVEL SECURITY;
ALTER TABLE artifacts      ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipts       ENABLE ROW LEVEL SECURITY;
ALTER TABLE exports        ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_trail    ENABLE ROW LEVEL SECURITY;
ALTER TABLE events         ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks       ENABLE ROW LEVEL SECURITY;
ALTER TABLE deliveries     ENABLE ROW LEVEL SECURITY;
ALTER TABLE recoveries     ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON organizations  TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON api_keys       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON runs           TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON cases          TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON results        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON result_details TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON artifacts      TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON receipts       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON idempotency_keys TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON audit_trail    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON exports        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON events         TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON webhooks       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON deliveries     TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON recoveries     TO results_api USING (org_id = current_org());
CREATE POLICY key_lookup ON api_keys   TO results_keys USING (true);

GRANT SELECT ON organizations, runs, cases, results, result_details, heartbeats TO results_api;
GRANT SELECT, INSERT, UPDATE ON receipts TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON artifacts TO results_api;
GRANT SELECT, INSERT, UPDATE ON api_keys TO results_api;
GRANT SELECT ON api_keys TO results_keys;
GRANT SELECT, INSERT ON events TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks TO results_api;
GRANT SELECT, INSERT, UPDATE ON deliveries, recoveries TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON events, webhooks, deliveries, recoveries TO results_worker;
GRANT USAGE ON SEQUENCE event_numbers TO results_worker;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON organizations, api_keys, runs, cases, results, result_details, artifacts, receipts, heartbeats TO results_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON exports TO results_api, results_worker;
GRANT DELETE ON runs, results, result_details TO results_api;
GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO results_api;
GRANT SELECT, DELETE ON idempotency_keys TO results_worker;
GRANT SELECT, INSERT ON audit_trail TO results_api, results_worker;
GRANT INSERT ON outbox TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, dead_letters TO results_worker;
GRANT SELECT ON schema_migrations TO results_api, results_worker;

-- Finds a key before the organization is known. It may read api_keys alone, whatever its caller may read.
CREATE FUNCTION find_key(wanted text)
    RETURNS TABLE (org_id int, role text, project_id text, secret_sha256 bytea, previous_sha256 bytea,
                   previous_expires_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.role, k.project_id, k.secret_sha256, k.previous_sha256,
           k.previous_expires_at, k.expires_at, k.revoked_at
    FROM public.api_keys k WHERE k.key_id = wanted
$$;
ALTER FUNCTION find_key(text) OWNER TO results_keys;
REVOKE ALL ON FUNCTION find_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_key(text) TO results_api;
REVOKE ALL ON FUNCTION create_month_partitions(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_month_partitions(date) TO results_worker;
