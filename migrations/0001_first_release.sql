-- The complete current schema of the Results API, for PostgreSQL 15 to 18.
-- `zof-results schema apply` loads this file into an empty database and applies migrations/ to an existing database.
--
-- Three decisions shape the schema:
--   * Results are narrow facts with one index: their primary key, which starts with the completion time (run_key).
--     Text is in the dimensions `runs` and `cases`; failures are in `result_details`.
--   * org_id is the first column of every key. Row-level security limits the role of the API to one organization.
--   * results, result_details, shard_results, and artifacts are partitioned by month of completion, so that retention
--     drops tables instead of deleting rows.
--
-- A status is stored as a one-letter code: p(assed), f(ailed), e(rror), s(kipped), c(anceled).

-- Roles ---------------------------------------------------------------------------------------------------
-- The login of the processes uses these roles through SET ROLE. Roles belong to the cluster, so they can exist already.

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY[
        'results_api NOLOGIN NOBYPASSRLS',  -- requests and exports: sees one organization at a time
        'results_worker NOLOGIN BYPASSRLS', -- consumers: PostgreSQL rejects COPY FROM on a table with a policy
        'results_keys NOLOGIN NOBYPASSRLS', -- owns find_key; reads only api_keys
        'results_owner NOLOGIN BYPASSRLS'   -- owns the partitioned tables; creates and removes months
    ] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = split_part(role_name, ' ', 1));
        BEGIN
            EXECUTE 'CREATE ROLE ' || role_name;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    FOREACH role_name IN ARRAY ARRAY['results_api', 'results_worker', 'results_keys', 'results_owner'] LOOP
        -- Since PostgreSQL 16, a user who isn't a superuser is a member of a role that it creates, but without SET.
        IF NOT pg_has_role(current_user, role_name,
                           CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        END IF;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO results_api, results_worker, results_keys, results_owner;
GRANT CREATE ON SCHEMA public TO results_owner; -- for partitions

-- Functions -----------------------------------------------------------------------------------------------
-- Functions that are called per row aren't STRICT unless their body is: the planner can't inline such a function, and
-- a call that isn't inlined takes 1 µs per row.

-- The organization of this connection; null if none is set, so that no row matches.
CREATE FUNCTION current_org() RETURNS int
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.org_id', true), '')::int;

-- RFC 3339 in UTC with milliseconds, the format of every time in the API.
CREATE FUNCTION rfc3339(at timestamptz) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE STRICT
    RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

-- The name of a status code.
CREATE FUNCTION status_name(code "char") RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE code WHEN 'p' THEN 'passed' WHEN 'f' THEN 'failed' WHEN 'e' THEN 'error'
                     WHEN 's' THEN 'skipped' WHEN 'c' THEN 'canceled' END;

-- The rank of a status code: a worse status has a higher rank. Must match SEVERITY in service/domain/statuses.py.
CREATE FUNCTION severity(code "char") RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN strpos('pscfe', code::text);

-- The public ID of a result. Must match service/domain/ids.py.
CREATE FUNCTION result_id(run_key uuid, case_key bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'res_' || replace(run_key::text, '-', '') || lpad(to_hex(case_key), 16, '0');

-- The public ID of a case. Must match service/domain/ids.py.
CREATE FUNCTION case_public_id(case_key bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'case_' || lpad(to_hex(case_key), 16, '0');

-- The public ID of an artifact. Must match service/domain/ids.py.
CREATE FUNCTION artifact_id(run_key uuid, case_key bigint, artifact_key bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'art_' || replace(run_key::text, '-', '') || lpad(to_hex(case_key), 16, '0')
                  || lpad(to_hex(artifact_key), 16, '0');

-- The duration of a result or attempt; null if it is unknown. Must match UNKNOWN_DURATION_MS in service/results/model.py.
CREATE FUNCTION known_duration(duration_ms int) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN nullif(duration_ms, -1);

-- The start of a result or attempt; null if it is unknown. Must match UNKNOWN_START in service/results/store.py.
CREATE FUNCTION known_start(completed_at timestamptz, started_offset_ms int) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN completed_at + nullif(started_offset_ms, (-2147483648)::int) * interval '1 millisecond';

-- The smallest run_key of a completion time: its first 48 bits are the milliseconds since 1970.
CREATE FUNCTION first_run_key(at timestamptz) RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE STRICT
    RETURN (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- Organizations and API keys -----------------------------------------------------------------------------------

CREATE TABLE organizations (
    org_id                   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug                     text NOT NULL CONSTRAINT organizations_slug_unique UNIQUE,
    name                     text NOT NULL,
    created_at               timestamptz NOT NULL DEFAULT now(),
    last_pruned_event_number bigint NOT NULL DEFAULT 0 -- highest number of a deleted event
);

CREATE TABLE api_keys (
    org_id              int NOT NULL REFERENCES organizations,
    key_id              text NOT NULL,       -- key_ + 20 hex digits; also the middle part of the key
    name                text NOT NULL,
    role                text NOT NULL CHECK (role IN ('viewer', 'engineer', 'admin')),
    project_id          text,                -- the project that the key is bound to, or null
    secret_sha256       bytea NOT NULL,
    previous_sha256     bytea,               -- the secret before the last rotation
    previous_expires_at timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz,
    revoked_at          timestamptz,
    last_used_at        timestamptz,         -- updated at most once per minute
    PRIMARY KEY (org_id, key_id)
);
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (key_id);  -- for find_key: a request contains only the key ID

-- Runs and cases (dimensions) ---------------------------------------------------------------------------

CREATE TABLE runs (
    org_id            int NOT NULL REFERENCES organizations,
    run_key           uuid NOT NULL,         -- 48 bits of completed_at in ms, then a hash of (organization, run_id)
    run_id            text NOT NULL,         -- the producer's ID
    project_id        text NOT NULL,
    environment       text,
    branch            text,
    base_branch       text,                  -- target branch of a pull request
    commit_sha        text,
    pull_request      text,                  -- number of the pull request
    ci_url            text,
    labels            jsonb NOT NULL DEFAULT '{}',
    status            "char" NOT NULL CHECK (status IN ('p', 'f', 'e', 'c')),
    stated_status     "char",                -- status that an event states for the complete run, or null
    status_event_s    bigint NOT NULL,       -- time of the event with stated_status, in s since 1970 (runs/model.py)
    passed            int NOT NULL DEFAULT 0,
    failed            int NOT NULL DEFAULT 0,
    error             int NOT NULL DEFAULT 0,
    skipped           int NOT NULL DEFAULT 0,
    canceled          int NOT NULL DEFAULT 0,
    flaky             int NOT NULL DEFAULT 0,
    failures_missing  bool NOT NULL DEFAULT false, -- a report declares failures that it doesn't contain
    shard_versions    jsonb NOT NULL DEFAULT '{}', -- newest event of each shard: ShardVersion in runs/model.py
    complete          bool NOT NULL,
    expected_results  int,
    expected_shards   int,
    shards            smallint[] NOT NULL DEFAULT '{}', -- numbers of the shards that arrived
    started_at        timestamptz,
    completed_at      timestamptz NOT NULL,  -- from the first event; never changes, like run_key
    last_completed_at timestamptz NOT NULL,
    duration_ms       bigint,
    field_versions    jsonb NOT NULL,        -- {"branch": s since 1970, …}: event time of each field's value
    revision          int NOT NULL DEFAULT 1,
    results_expired   bool NOT NULL DEFAULT false,
    pinned            bool NOT NULL DEFAULT false, -- retention keeps the run with its results and artifacts
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
CREATE INDEX runs_pinned ON runs (org_id, run_key) WHERE pinned;
CREATE INDEX runs_with_flaky ON runs (org_id, project_id, run_key) WHERE flaky > 0;
CREATE INDEX runs_by_commit ON runs (org_id, commit_sha text_pattern_ops, run_key); -- also finds a prefix of the hash

-- The number of results of a run with these status codes.
CREATE FUNCTION result_count(run runs, codes text[]) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN 'p' = ANY (codes) THEN run.passed ELSE 0 END + CASE WHEN 'f' = ANY (codes) THEN run.failed ELSE 0 END
         + CASE WHEN 'e' = ANY (codes) THEN run.error ELSE 0 END + CASE WHEN 's' = ANY (codes) THEN run.skipped ELSE 0 END
         + CASE WHEN 'c' = ANY (codes) THEN run.canceled ELSE 0 END;

-- The public object with the counts of a run.
CREATE FUNCTION run_counts(run runs) RETURNS json
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN json_build_object('passed', run.passed, 'failed', run.failed, 'error', run.error, 'skipped', run.skipped,
                             'canceled', run.canceled, 'flaky', run.flaky);

CREATE TABLE cases (
    org_id     int NOT NULL REFERENCES organizations,
    case_key   bigint NOT NULL,              -- hash of (project, case_id) or (project, suite, name, occurrence), and variant
    project_id text NOT NULL,
    case_id    text,                         -- the producer's ID, or null
    suite      text NOT NULL,
    name       text NOT NULL,
    file       text,
    occurrence int NOT NULL,                 -- greater than 0 only if the name repeats in its suite
    variant    jsonb NOT NULL DEFAULT '{}',  -- {"os": "linux", …}: distinguishes executions of one test in a matrix
    -- A suite can be long; the hash keeps the index entry small, and the query then compares the suite. The hash is a
    -- column because row-level security prevents a function call (md5(suite) = …) from being an index condition.
    suite_hash bigint NOT NULL GENERATED ALWAYS AS (hashtextextended(suite, 0)) STORED,
    PRIMARY KEY (org_id, case_key)
);
-- Includes the project, because thousands of projects can contain the same case_id.
CREATE INDEX cases_by_case_id ON cases (org_id, case_id, project_id) WHERE case_id IS NOT NULL;
CREATE INDEX cases_by_suite ON cases (org_id, project_id, suite_hash, case_key);

-- Results (facts), partitioned by month -----------------------------------------------------------------
-- The column order avoids padding. There are no foreign keys: ingest guarantees the references, and a check per row
-- would take longer than the insert. Unknown values are stored as numbers, because a null would add a bitmap to the row:
-- known_duration() and known_start() return them as null.

CREATE TABLE results (
    case_key            bigint NOT NULL,
    run_key             uuid NOT NULL,
    org_id              int NOT NULL,
    duration_ms         int NOT NULL,        -- -1 if unknown
    started_offset_ms   int NOT NULL,        -- offset from completed_at of the run; -2147483648 if unknown
    event_time_offset_s int NOT NULL,        -- event time of the stored result, offset from completed_at
    attempts            smallint NOT NULL,
    shard               smallint NOT NULL DEFAULT 0, -- the shard whose result this is; 0 if the event states none
    status              "char" NOT NULL,
    flaky               bool NOT NULL,
    PRIMARY KEY (org_id, run_key, case_key)
) PARTITION BY RANGE (run_key);

-- Attempts with details: non-passing attempts, earlier attempts, and attempts with a log.
CREATE TABLE result_details (
    case_key          bigint NOT NULL,
    run_key           uuid NOT NULL,
    org_id            int NOT NULL,
    duration_ms       int NOT NULL,          -- -1 if unknown
    started_offset_ms int NOT NULL,          -- -2147483648 if unknown
    line              int,                   -- line in the file of the case
    attempt           smallint NOT NULL,     -- from 1
    status            "char" NOT NULL,
    is_last_attempt   bool NOT NULL,         -- the last attempt, whose status is that of the result
    flaky             bool NOT NULL DEFAULT false, -- the last failing attempt of a flaky result
    fingerprint       bigint,                -- hash of the failure of the last attempt
    type              text,
    message           text,
    details           text,
    summary           text,                  -- of the failure, in the row of the last attempt: failures/model.py
    logs_ref          text,
    properties        jsonb,                 -- properties of the result, in the row of its last attempt
    PRIMARY KEY (org_id, run_key, case_key, attempt)
) PARTITION BY RANGE (run_key);
CREATE INDEX result_details_by_status ON result_details (org_id, status, run_key, case_key)
    WHERE is_last_attempt AND status <> 'p';
CREATE INDEX result_details_by_case ON result_details (org_id, case_key, run_key)
    WHERE is_last_attempt AND status <> 'p';
CREATE INDEX result_details_by_fingerprint ON result_details (org_id, fingerprint, run_key)
    WHERE is_last_attempt AND status <> 'p';
CREATE INDEX result_details_flaky ON result_details (org_id, run_key, case_key) WHERE flaky;

-- The newest result of each shard, only for cases that several shards reported. The worst of them is in `results`. If a
-- correction replaces it, the result of another shard can become the worst.
CREATE TABLE shard_results (
    org_id              int NOT NULL,
    run_key             uuid NOT NULL,
    case_key            bigint NOT NULL,
    shard               smallint NOT NULL,
    event_time_offset_s int NOT NULL,        -- as in results
    result              jsonb NOT NULL,      -- the other fields of the result: results/store.py
    PRIMARY KEY (org_id, run_key, case_key, shard)
) PARTITION BY RANGE (run_key);

-- Files of a result, or of a run (case_key 0). A reference to an external file has a uri; a stored file has a path.
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
    uri          text,                       -- from the producer, shown as text
    path         text,                       -- path in the service's storage
    byte_offset  bigint,                     -- start of the file in the stored object; null if it is the complete object
    expires_at   timestamptz,                -- only for export files
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, run_key, case_key, artifact_key)
) PARTITION BY RANGE (run_key);

-- Receipts -------------------------------------------------------------------------------------------------

CREATE TABLE receipts (
    org_id        int NOT NULL REFERENCES organizations,
    receipt_id    text NOT NULL,
    source        text NOT NULL,
    event_id      text NOT NULL,
    body_sha256   bytea NOT NULL,
    status        text NOT NULL CHECK (status IN ('queued', 'processing', 'stored', 'partial', 'rejected')),
    run_id        text,
    results       int NOT NULL DEFAULT 0,    -- number of stored results
    replaced      int NOT NULL DEFAULT 0,    -- number of results of the same shard that these results replaced
    replaced_failing int NOT NULL DEFAULT 0, -- number of replaced results that were failed or error
    combined      int NOT NULL DEFAULT 0,    -- number of results whose case another shard had already reported
    problems      jsonb NOT NULL DEFAULT '[]', -- [{index, name, reason}]
    received_at   timestamptz NOT NULL DEFAULT now(),
    -- Only for uploaded reports. The worker that reads a report has a claim until the lease expires.
    project_id    text,
    upload        jsonb,                     -- files and parameters: reports/model.py
    attempt_count smallint NOT NULL DEFAULT 0,
    due_at        timestamptz,
    claim         uuid,
    lease_until   timestamptz,
    PRIMARY KEY (org_id, receipt_id),
    CONSTRAINT receipts_event_unique UNIQUE (org_id, source, event_id)
);
CREATE INDEX receipts_by_run ON receipts (org_id, run_id, receipt_id);
CREATE INDEX receipts_by_event ON receipts (org_id, event_id);
CREATE INDEX receipts_open ON receipts (org_id, receipt_id) WHERE status IN ('queued', 'processing');
CREATE INDEX receipts_processing ON receipts (org_id, receipt_id) WHERE status = 'processing';
-- Finds the receipt of an uploaded file, which is in inbox/<org_id>/<folder>/. A reused receipt gets a new folder.
CREATE INDEX receipts_by_folder ON receipts (org_id, split_part(upload -> 'reports' -> 0 ->> 'path', '/', 3))
    WHERE upload IS NOT NULL;

-- Events and webhooks --------------------------------------------------------------------------------------

-- Events, inserted in the transaction that makes the change. The relay numbers committed rows, and readers follow the
-- numbers, so that no reader skips a row that was inserted early but committed late.
CREATE TABLE events (
    org_id     int NOT NULL,                 -- no foreign key: every writer has verified the organization
    event_id   text NOT NULL,                -- evt_ + 32 hex digits, which start with the time
    type       text NOT NULL,
    project_id text,                         -- project of the event's subject, or null
    run_id     text,
    data       json NOT NULL,                -- data.object; all receivers get these exact bytes
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- keeps the order within a transaction
    number     bigint,                       -- event number, or null until the relay assigns it
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
    events              text[] NOT NULL DEFAULT '{}', -- subscribed event types; empty: all
    project_id          text,                -- the project that the webhook is bound to, or null
    enabled             bool NOT NULL DEFAULT true,
    disabled_reason     text CHECK (disabled_reason IN ('by_request', 'failing', 'gone')),
    secret              text NOT NULL,       -- signs requests: fernet:<key ID>:<token>, or plain text without a key
    previous_secret     text,                -- also signs until previous_expires_at
    previous_expires_at timestamptz,
    failures            int NOT NULL DEFAULT 0, -- consecutive failures
    failing_since       timestamptz,
    paused_until        timestamptz,         -- circuit breaker: no delivery before this time
    deleted_at          timestamptz,         -- deleted by the owner; the dispatcher removes its deliveries, then the row
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, webhook_id)
);
CREATE INDEX webhooks_disabled ON webhooks (org_id, webhook_id) WHERE NOT enabled;

-- The delivery of one event to one webhook. A claim postpones due_at, so that the delivery becomes due again if the
-- worker crashes.
CREATE TABLE deliveries (
    org_id        int NOT NULL,
    webhook_id    text NOT NULL,
    delivery_id   text NOT NULL,             -- derived from webhook and event: one per event
    event_id      text NOT NULL,
    status        text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'exhausted')),
    attempt_count smallint NOT NULL DEFAULT 0, -- attempts; a redelivery resets the count
    due_at        timestamptz DEFAULT now(), -- null if delivered or exhausted
    claim         uuid,                      -- fencing token of the worker
    total_attempts int NOT NULL DEFAULT 0,   -- including those before a redelivery
    attempt_log   jsonb NOT NULL DEFAULT '[]', -- the newest attempts: [{at, status, latency_ms, error, response}]
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, webhook_id, delivery_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX deliveries_due ON deliveries (org_id, webhook_id, due_at) WHERE due_at IS NOT NULL;

-- Jobs that reopen the deliveries that a webhook missed.
CREATE TABLE recoveries (
    org_id      int NOT NULL,
    webhook_id  text NOT NULL,
    recovery_id text NOT NULL,
    since       timestamptz NOT NULL,
    until       timestamptz NOT NULL DEFAULT now(),
    status      text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded')),
    position    text NOT NULL,               -- ID of the last examined event
    recovered   int NOT NULL DEFAULT 0,      -- number of reopened deliveries
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (org_id, webhook_id, recovery_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX recoveries_open ON recoveries (created_at) WHERE finished_at IS NULL;

-- The ID of the delivery of an event to a webhook. It starts with the time of the event.
CREATE FUNCTION delivery_id(webhook_id text, event_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN 'dlv_' || substr(event_id, 5, 12) || left(md5(webhook_id || event_id), 20);

-- Whether a webhook is subscribed to events of this type and project.
CREATE FUNCTION is_subscribed(hook webhooks, event_type text, event_project text) RETURNS bool
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hook.events = '{}' OR event_type = ANY (hook.events))
       AND (hook.project_id IS NULL OR hook.project_id = event_project);

-- Exports ---------------------------------------------------------------------------------------------------

-- A text as a spreadsheet cell: prefixed with ' if it starts like a formula, unless `raw` is true.
CREATE FUNCTION spreadsheet_cell(value text, raw bool) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN raw OR value = '' OR strpos(E'=+-@\t\r', left(value, 1)) = 0 THEN value
                ELSE '''' || value END;

-- Export jobs. The worker that runs a job has a claim until the lease expires.
CREATE TABLE exports (
    org_id        int NOT NULL REFERENCES organizations,
    export_id     text NOT NULL,             -- exp_ + 32 hex digits, which start with the time
    status        text NOT NULL DEFAULT 'queued'
                CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'expired')),
    request       jsonb NOT NULL,            -- format, compression, columns, raw, filter
    project_id    text,                      -- project of the filter, or null
    run_id        text,
    attempt_count int NOT NULL DEFAULT 0,
    due_at        timestamptz NOT NULL DEFAULT now(),
    claim         uuid,
    lease_until   timestamptz,
    progress      real,                      -- 0 to 1; null if unknown
    rows          bigint,
    size          bigint,                    -- size of the file in bytes
    sha256        bytea,                     -- hash of the file
    path          text,                      -- path of the file in the service's storage
    error         text,                      -- message of the last failed attempt
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    expires_at    timestamptz,
    PRIMARY KEY (org_id, export_id)
);
CREATE INDEX exports_open ON exports (org_id, export_id) WHERE status IN ('queued', 'running');
CREATE INDEX exports_running ON exports (org_id, export_id) WHERE status = 'running';
CREATE INDEX exports_with_file ON exports (expires_at) WHERE path IS NOT NULL;

-- Messages between processes of the service ------------------------------------------------------------------
-- These two tables have no org_id: messages contain only IDs, and only the relay reads them.

-- Messages to send, inserted in the transaction that makes the change. The relay publishes committed messages and
-- deletes them after the publisher confirm. Without a broker, the relay passes the messages to the consumers.
CREATE TABLE outbox (
    outbox_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue         text NOT NULL,
    payload       jsonb NOT NULL,            -- IDs, and "v", the version of the payload
    attempt_count int NOT NULL DEFAULT 0,    -- failed attempts
    due_at        timestamptz NOT NULL DEFAULT now(),
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_due ON outbox (due_at, outbox_id);

-- Dead letters of the embedded queue. They stay until an operator replays or discards them.
CREATE TABLE dead_letters (
    dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue          text NOT NULL,
    payload        jsonb NOT NULL,
    reason         text NOT NULL,
    message        text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- Files to delete in storage, inserted in the transaction that deletes or replaces the rows that refer to them.
-- Upkeep deletes the files, because deleting thousands of files takes longer than a transaction can stay open.
CREATE TABLE file_deletions (
    org_id int NOT NULL REFERENCES organizations,
    path   text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(), -- a worker that deletes the file postpones the next attempt
    PRIMARY KEY (org_id, path)
);
CREATE INDEX file_deletions_due ON file_deletions (due_at);

-- Messages that might have crashed a consumer: the broker delivered them more than once. A consumer counts each attempt
-- before it reads the message, so that a message that always crashes becomes a dead letter. The table has no org_id.
CREATE TABLE crash_suspects (
    queue         text NOT NULL,
    body_sha256   bytea NOT NULL,
    attempt_count int NOT NULL DEFAULT 1,    -- attempts that didn't finish
    attempted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, body_sha256)
);

-- Responses to mutations with an Idempotency-Key: for 24 hours, a repeated mutation returns the same response.
-- The stored body doesn't contain secrets that are shown only once.
CREATE TABLE idempotency_keys (
    org_id         int NOT NULL REFERENCES organizations,
    api_key_id     text NOT NULL,            -- another key can be bound to another project
    method         text NOT NULL,
    path_sha256    bytea NOT NULL,           -- fixed size, because an index row can't contain a path of any length
    key            text NOT NULL,
    request_sha256 bytea NOT NULL,           -- SHA-256 of the request
    status         smallint NOT NULL,
    body           bytea NOT NULL,
    location       text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, api_key_id, method, path_sha256, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Audit trail: one row per successful mutation, inserted in its transaction.
CREATE TABLE audit_trail (
    org_id     int NOT NULL REFERENCES organizations,
    entry_id   bigint GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,                -- key_… or "command line"
    action     text NOT NULL,                -- POST /v1/api-keys
    subject    text,                         -- created or changed object, if the action doesn't name it
    request_id text,
    PRIMARY KEY (org_id, entry_id)
);

-- Heartbeats of the consumer processes, for /readyz. The table has no org_id.
CREATE TABLE heartbeats (
    worker_id    text PRIMARY KEY,           -- host:pid:role
    role         text NOT NULL,
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

-- Months that are past the retention of a class of data. Upkeep removes a month only after the grace period, so that an
-- operator can correct a wrong retention or clock. The table has no org_id, and only the owner uses it.
CREATE TABLE expiring_months (
    class   text NOT NULL,                   -- artifacts, results, or runs
    month   date NOT NULL,
    waited  interval NOT NULL DEFAULT '0',   -- observed time; a jump of the clock doesn't count
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (class, month)
);

-- Migrations that were applied to this database.
CREATE TABLE schema_migrations (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Partitions -----------------------------------------------------------------------------------------------

-- Create the missing partitions of a month. If an operator detached a partition to archive it, its name is in use, and the
-- new partition for late events gets the next free name, such as results_2026_05_2. The archived runs expire, because
-- ingest can't compare a late event with archived results, and would count its results twice. CREATE and ATTACH don't
-- block reads or writes. If a lock isn't available within 2 s, the function fails, because a waiting lock request would
-- block all later requests.
CREATE FUNCTION create_month_partitions(month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '2s'
    SET client_min_messages = warning
AS $$
DECLARE
    parent text;
    base   text;
    child  text;
    suffix int;
    low    uuid := first_run_key(date_trunc('month', month)::timestamp AT TIME ZONE 'UTC');
    high   uuid := first_run_key((date_trunc('month', month) + interval '1 month')::timestamp AT TIME ZONE 'UTC');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('create_month_partitions'));
    FOREACH parent IN ARRAY ARRAY['results', 'result_details', 'shard_results', 'artifacts'] LOOP
        base := parent || to_char(month, '_YYYY_MM');
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = ('public.' || parent)::regclass AND relname ~ ('^' || base || '(_[0-9]+)?$')
        );
        child := base;
        suffix := 2;
        WHILE to_regclass('public.' || child) IS NOT NULL LOOP
            child := base || '_' || suffix;
            suffix := suffix + 1;
        END LOOP;
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', child, parent);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                       parent, child, low, high);
        IF parent = 'results' AND child <> base THEN
            UPDATE public.runs SET results_expired = true
            FROM public.organizations org
            WHERE runs.org_id = org.org_id AND run_key >= low AND run_key < high AND NOT results_expired
                  AND passed + failed + error + skipped + canceled > 0;
        END IF;
    END LOOP;
END $$;

-- Row-level security and grants -----------------------------------------------------------------------------
-- Grants name only the parent tables: the policy doesn't apply to a partition that is read by its own name.

ALTER TABLE organizations  ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys       ENABLE ROW LEVEL SECURITY;
ALTER TABLE runs           ENABLE ROW LEVEL SECURITY;
ALTER TABLE cases          ENABLE ROW LEVEL SECURITY;
ALTER TABLE results        ENABLE ROW LEVEL SECURITY;
ALTER TABLE result_details ENABLE ROW LEVEL SECURITY;
ALTER TABLE shard_results  ENABLE ROW LEVEL SECURITY;
ALTER TABLE artifacts      ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipts       ENABLE ROW LEVEL SECURITY;
ALTER TABLE exports        ENABLE ROW LEVEL SECURITY;
ALTER TABLE file_deletions ENABLE ROW LEVEL SECURITY;
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
CREATE POLICY same_organization ON shard_results  TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON artifacts      TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON receipts       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON file_deletions TO results_api USING (org_id = current_org());
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
GRANT SELECT, INSERT, UPDATE ON webhooks, deliveries, recoveries TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON events, webhooks, deliveries, recoveries TO results_worker;
GRANT USAGE ON SEQUENCE event_numbers TO results_worker;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON organizations, api_keys, runs, cases, results, result_details, shard_results, artifacts, receipts, heartbeats
    TO results_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON exports TO results_api, results_worker;
GRANT SELECT, DELETE ON shard_results TO results_api; -- the deletion of a run
GRANT DELETE ON runs, results, result_details TO results_api;
GRANT UPDATE (pinned, complete, revision) ON runs TO results_api;
GRANT SELECT, INSERT ON file_deletions TO results_api; -- ON CONFLICT needs SELECT
GRANT SELECT, INSERT, UPDATE, DELETE ON file_deletions TO results_worker;
GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO results_api;
GRANT SELECT, DELETE ON idempotency_keys TO results_worker;
GRANT SELECT, INSERT ON audit_trail TO results_api, results_worker;
GRANT DELETE ON audit_trail TO results_worker; -- the deletion of an organization
GRANT INSERT ON outbox TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, dead_letters, crash_suspects TO results_worker;
GRANT SELECT ON schema_migrations TO results_api, results_worker;

-- Find a key before the organization is known. The function can read only api_keys, regardless of the privileges of the caller.
CREATE FUNCTION find_key(requested_key_id text)
    RETURNS TABLE (org_id int, role text, project_id text, secret_sha256 bytea, previous_sha256 bytea,
                   previous_expires_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.role, k.project_id, k.secret_sha256, k.previous_sha256,
           k.previous_expires_at, k.expires_at, k.revoked_at
    FROM public.api_keys k WHERE k.key_id = requested_key_id
$$;
GRANT CREATE ON SCHEMA public TO results_keys; -- required to become the owner of the function
ALTER FUNCTION find_key(text) OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION find_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_key(text) TO results_api;
REVOKE ALL ON FUNCTION create_month_partitions(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_month_partitions(date) TO results_worker;

-- Only the owner can create, attach, detach, and drop partitions. All other tables belong to the user who applies the schema.
DO $$
DECLARE
    parent regclass;
BEGIN
    FOR parent IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'p' LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO results_owner', parent);
    END LOOP;
END $$;
ALTER TABLE expiring_months OWNER TO results_owner;
ALTER FUNCTION create_month_partitions(date) OWNER TO results_owner;
GRANT SELECT ON organizations TO results_owner;
GRANT SELECT, UPDATE (results_expired) ON runs TO results_owner;
