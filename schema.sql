-- The complete current schema of the Results API, for PostgreSQL 15 to 18.
-- `zof-results schema apply` loads this file into an empty database and applies migrations/ to an existing database.
--
-- Three decisions shape the schema:
--   * Results are narrow facts with one index: their primary key, which starts with the completion time (run_key).
--     Text is in the dimensions `runs` and `cases`; failures are in `result_details`.
--   * org_id is the first column of every key. Row-level security limits the role of the API to one organization.
--   * results, result_details, shard_results, and artifacts are partitioned by month of completion, so that retention drops
--     tables instead of deleting rows.
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
        'results_keys NOLOGIN NOBYPASSRLS', -- owns the functions that find keys and publishers; reads only keys, publishers, and slugs
        'results_sessions NOLOGIN NOBYPASSRLS', -- owns the functions that find sessions and memberships; reads only what they need
        'results_owner NOLOGIN BYPASSRLS'   -- owns the partitioned tables; creates and removes months
    ] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = split_part(role_name, ' ', 1));
        BEGIN
            EXECUTE 'CREATE ROLE ' || role_name;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
    FOREACH role_name IN ARRAY ARRAY['results_api', 'results_worker', 'results_keys', 'results_sessions', 'results_owner'] LOOP
        -- Since PostgreSQL 16, a user who isn't a superuser is a member of a role that it creates, but without SET.
        IF NOT pg_has_role(current_user, role_name,
                           CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
        END IF;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO results_api, results_worker, results_keys, results_owner, results_sessions;
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

-- The minute in which a run completed, since 1970. Must match service/domain/ids.py.
CREATE FUNCTION completion_minute(run_key uuid) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN least(('x' || translate(left(run_key::text, 13), '-', ''))::bit(48)::bigint / 60000, 2147483647)::int;

-- The smallest run_key of the runs that completed in a minute.
CREATE FUNCTION first_run_key_of_minute(minute int) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN (lpad(to_hex(minute::bigint * 60000), 12, '0') || repeat('0', 20))::uuid;

-- Organizations and API keys -----------------------------------------------------------------------------------

CREATE TABLE organizations (
    org_id                   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug                     text NOT NULL CONSTRAINT organizations_slug_unique UNIQUE,
    name                     text NOT NULL,
    created_at               timestamptz NOT NULL DEFAULT now(),
    last_pruned_event_number bigint NOT NULL DEFAULT 0, -- highest number of a deleted event
    cases_version            bigint NOT NULL DEFAULT 0, -- each transaction that changes stored cases increments it
    deleted_projects         int NOT NULL DEFAULT 0     -- number of projects that were deleted with their cases
);

CREATE TABLE api_keys (
    org_id              int NOT NULL REFERENCES organizations,
    key_id              text NOT NULL,       -- key_ + 20 hex digits; also the middle part of the key
    name                text NOT NULL,
    role                text NOT NULL CHECK (role IN ('viewer', 'uploader', 'engineer', 'admin', 'public')),
    project_id          text,                -- the project that the key is bound to, or null
    secret_sha256       bytea NOT NULL,
    previous_sha256     bytea,               -- the secret before the last rotation
    previous_expires_at timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz,
    revoked_at          timestamptz,
    last_used_at        timestamptz,         -- updated at most once per minute
    -- Only of keys that a CI job received for its ID token. Upkeep deletes them one day after they expire.
    publisher_id        text,                -- pub_…
    token_sha256        bytea,               -- digest of the ID of the token; all keys of a token end together
    job                 jsonb,               -- claims of the job: JobClaims in identity/publishers/model.py
    PRIMARY KEY (org_id, key_id),
    CONSTRAINT api_keys_public_project CHECK (role <> 'public' OR project_id IS NOT NULL)
);
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (key_id);  -- for find_stored_key: a request contains only the key ID
CREATE INDEX api_keys_by_token ON api_keys (org_id, token_sha256) WHERE token_sha256 IS NOT NULL;
CREATE INDEX api_keys_by_publisher ON api_keys (org_id, publisher_id) WHERE publisher_id IS NOT NULL;
CREATE INDEX api_keys_of_publishers_by_expiry ON api_keys (expires_at) WHERE publisher_id IS NOT NULL;

-- RabbitMQ users that can send events of an organization. A user can have several rows.
CREATE TABLE producers (
    org_id     int NOT NULL REFERENCES organizations,
    user_id    text NOT NULL,                -- the property user_id of the messages, which RabbitMQ verifies
    project_id text,                         -- the only project, or null for all projects
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT producers_unique UNIQUE NULLS NOT DISTINCT (org_id, user_id, project_id)
);
CREATE INDEX producers_by_user ON producers (user_id);  -- for ingest: a message states only its user

-- CI repositories whose jobs can exchange an ID token for a key of 15 minutes (trusted publishers). A token must have all
-- claims of a publisher. Deleted rows stay, because the audit trail names them.
CREATE TABLE publishers (
    org_id       int NOT NULL REFERENCES organizations,
    publisher_id text NOT NULL,              -- pub_ + 32 hex digits
    name         text NOT NULL,
    provider     text NOT NULL CHECK (provider IN ('github', 'gitlab', 'buildkite', 'circleci', 'oidc')),
    issuer       text NOT NULL,              -- URL, equal to the claim iss of a token
    claims       jsonb NOT NULL CHECK (jsonb_typeof(claims) = 'object' AND claims <> '{}'), -- {name: value as text}
    project_id   text NOT NULL,              -- the project of the keys
    role         text NOT NULL CHECK (role IN ('uploader', 'engineer')),
    enabled      bool NOT NULL DEFAULT true,
    created_by   text NOT NULL,              -- key_…, per_…, or "command line"
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,                -- of the last key
    deleted_at   timestamptz,
    PRIMARY KEY (org_id, publisher_id)
);
CREATE INDEX publishers_by_issuer ON publishers (issuer) WHERE deleted_at IS NULL; -- for find_publishers, is_issuer_known, and list_issuers

-- The newest exchanges of ID tokens, for admins. Only authentic tokens of a repository that a publisher names have rows.
CREATE TABLE token_exchanges (
    org_id       int NOT NULL REFERENCES organizations,
    exchange_id  bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT now(),
    publisher_id text,                       -- pub_…; null if no publisher of the repository accepts the token
    issuer       text NOT NULL,
    token_sha256 bytea NOT NULL,             -- digest of the issuer and jti, or of the token if it has no jti
    job          text NOT NULL,              -- the job for people, as a URL if possible
    project_id   text,
    key_id       text,                       -- key_…; null if refused
    refusal      text,                       -- reason; null if accepted
    claims       jsonb NOT NULL,
    PRIMARY KEY (org_id, exchange_id)
);

-- Sessions of the console: browsers that signed in with an API key, or of people who signed in with OpenID Connect. A session
-- has the permissions of its key or member. It ends when it expires, when the key expires, is revoked, or gets another secret,
-- or when the member is removed.
CREATE TABLE sessions (
    org_id         int NOT NULL REFERENCES organizations,
    session_sha256 bytea NOT NULL,           -- digest of the random ID in the cookie of the browser
    key_id         text,                     -- key_…, or null for a person
    secret_sha256  bytea,                    -- digest of the secret of the key at sign-in
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    person_id      text,                     -- per_…, or null for a key
    member_id      text,                     -- mem_…: the membership that the person has selected
    has_choices    bool,                     -- whether the person can select another one; null: stored by an earlier version
    PRIMARY KEY (org_id, session_sha256),
    CONSTRAINT sessions_owner_check CHECK (
        CASE WHEN person_id IS NULL THEN key_id IS NOT NULL AND secret_sha256 IS NOT NULL AND member_id IS NULL
             ELSE member_id IS NOT NULL AND key_id IS NULL AND secret_sha256 IS NULL END)
);
CREATE UNIQUE INDEX sessions_by_digest ON sessions (session_sha256); -- for find_session: a cookie contains only the ID
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- People who have several memberships and still have to choose one: after the provider has identified the person, and before
-- the organization is known.
CREATE TABLE sign_ins (
    sign_in_sha256 bytea PRIMARY KEY,        -- digest of the random ID in the cookie of the browser
    identity       jsonb NOT NULL,           -- what the provider states about the person
    expires_at     timestamptz NOT NULL
);

-- Members: who can sign in to the console, by the verified email of one person or by a group of the identity provider.
CREATE TABLE members (
    org_id       int NOT NULL REFERENCES organizations,
    member_id    text NOT NULL,              -- mem_ + 32 hex digits
    email        text,                       -- in lower case; null for a group, and after the erasure of a removed member
    group_name   text,
    role         text NOT NULL CHECK (role IN ('viewer', 'uploader', 'engineer', 'admin')),
    project_id   text,                       -- the only project that the member can access, or null
    person_id    text,                       -- per_…: the first person who signed in with the email; null for a group
    created_by   text NOT NULL,              -- key_…, per_…, or "command line"
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz,                -- updated at most once per minute
    removed_at   timestamptz,                -- the row stays, because the audit trail names the member
    PRIMARY KEY (org_id, member_id),
    CONSTRAINT members_matcher_check CHECK (num_nonnulls(email, group_name) = 1 OR removed_at IS NOT NULL)
);
CREATE UNIQUE INDEX members_unique_email ON members (org_id, email, project_id) NULLS NOT DISTINCT
    WHERE email IS NOT NULL AND removed_at IS NULL;
CREATE UNIQUE INDEX members_unique_group ON members (org_id, group_name, project_id) NULLS NOT DISTINCT
    WHERE group_name IS NOT NULL AND removed_at IS NULL;
-- For find_memberships: a person who signs in doesn't state an organization.
CREATE INDEX members_by_email ON members (email) WHERE removed_at IS NULL;
CREATE INDEX members_by_group ON members (group_name) WHERE removed_at IS NULL;
CREATE INDEX members_by_person ON members (person_id) WHERE removed_at IS NULL;

-- People who signed in, one row per organization. The subject identifies a person of an issuer; emails and names change.
CREATE TABLE people (
    org_id       int NOT NULL REFERENCES organizations,
    person_id    text NOT NULL,              -- per_ + 32 hex digits
    issuer       text NOT NULL,
    subject      text NOT NULL,
    email        text,                       -- verified, in lower case, at the last sign-in
    name         text,                       -- at the last sign-in
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(), -- updated at most once per minute
    PRIMARY KEY (org_id, person_id),
    CONSTRAINT people_unique UNIQUE (org_id, issuer, subject)
);
CREATE INDEX people_by_subject ON people (subject, issuer); -- for find_memberships

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
    shard_versions    jsonb NOT NULL DEFAULT '{}', -- newest event of each part, by its number: PartVersion in runs/model.py
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
    closed            bool,                  -- a final event or a client has closed the run; null: stored by an earlier version
    sent_at_once      bool,                  -- an event states neither shards, nor results, nor whether it's final
    has_been_complete bool,                  -- run.completed is published only once
    pipeline          text,                  -- ID of the execution of the CI pipeline, such as github-812
    title             text,                  -- title of the pull request or subject of the commit
    author            text,                  -- personal data: `organizations erase-author` deletes a name
    workflow          text,
    job_url           text,                  -- https, like repository_url
    repository_url    text,
    trusted           bool,                  -- false: uploaded with a public key and not promoted; null: stored by an earlier version
    awaited_receipts  text[],                -- receipts that the promotion names and that aren't stored yet; null: none
    part_spans        jsonb,                 -- [[start, end], …] in ms since 1970: when parts were executed; null: from started_at to last_completed_at
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
CREATE INDEX runs_by_pull_request ON runs (org_id, pull_request, run_key) WHERE pull_request IS NOT NULL;
CREATE INDEX runs_by_author ON runs (org_id, author, run_key) WHERE author IS NOT NULL;
CREATE INDEX runs_by_pipeline ON runs (org_id, pipeline, run_key) WHERE pipeline IS NOT NULL;
CREATE INDEX runs_untrusted ON runs (org_id, run_key) WHERE NOT trusted; -- few rows, because they are promoted or expire

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

-- The parts of a run, such as the jobs of a pipeline: one row per attempt of a part whose upload or event was accepted. The
-- results of a run contain the number of their part. Runs that an earlier version stored have no parts.
CREATE TABLE run_parts (
    org_id      int NOT NULL,
    run_key     uuid NOT NULL,
    attempt     bigint NOT NULL,             -- of the job; 0: none
    number      smallint NOT NULL,           -- assigned from 10001; the shard if the part has nothing but a shard
    shard       smallint NOT NULL,           -- 0: none
    has_results bool NOT NULL,               -- false: only empty uploads and events
    name        text NOT NULL,               -- of the job; empty: none
    variant     jsonb NOT NULL,              -- of the upload or event
    PRIMARY KEY (org_id, run_key, number)
);

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
    trusted    bool NOT NULL DEFAULT true,   -- false: hidden, because only untrusted runs contain the case
    expires_on date,                         -- of a hidden case: upkeep deletes it after this day in UTC
    promoted   bool,                         -- true: only promoted runs contain the case, so that forks have stated its texts
    owners     text[] NOT NULL DEFAULT '{}', -- at most 10 names
    PRIMARY KEY (org_id, case_key)
);
-- Includes the project, because thousands of projects can contain the same case_id.
CREATE INDEX cases_by_case_id ON cases (org_id, case_id, project_id) WHERE case_id IS NOT NULL;
CREATE INDEX cases_by_suite ON cases (org_id, project_id, suite_hash, case_key);
CREATE INDEX cases_untrusted ON cases (org_id, case_key) WHERE NOT trusted;

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

-- The lifecycle of failure groups on the default branch.
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

-- The digests that were published.
CREATE TABLE digests (
    org_id     int NOT NULL REFERENCES organizations,
    project_id text NOT NULL,
    owner      text NOT NULL,                -- whose cases the digest contains; empty: all cases
    week       date NOT NULL,                -- its Monday
    PRIMARY KEY (org_id, project_id, owner, week)
);

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

-- Projects: a project exists as soon as one of its runs is stored. Its last run is the newest one in `runs`. A transaction that
-- stores runs locks their projects. Upkeep deletes a project in steps, during which no runs of the project are stored.
CREATE TABLE projects (
    org_id         int NOT NULL REFERENCES organizations,
    project_id     text NOT NULL,
    default_branch text NOT NULL DEFAULT 'main',
    created_at     timestamptz NOT NULL DEFAULT now(),
    code_url_pattern text,                   -- of links to files on a code host that the service doesn't know
    deletion_requested_at timestamptz,       -- upkeep deletes the project
    deleted_projects int NOT NULL DEFAULT 0, -- of the organization when the project was stored
    untrusted_uploads bool NOT NULL DEFAULT false, -- keys of the role public can upload runs that aren't trusted
    auto_quarantine jsonb,                   -- the policy {"max_share", "days", "release_after_runs"}; null: none
    auto_quarantine_status jsonb,            -- {"active", "limit", "waiting"} after the newest update of states
    failure_groups_branch text,              -- the branch whose failure groups are recorded; null: none yet
    PRIMARY KEY (org_id, project_id)
);
CREATE INDEX projects_deleted ON projects (org_id, project_id) WHERE deletion_requested_at IS NOT NULL;

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
    created_by    text NOT NULL,             -- key_…, or "policy" for automatic quarantine
    created_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,               -- set by a request or the policy, not by the expiry
    is_expiry_published bool NOT NULL DEFAULT false, -- the event quarantine.expired was inserted
    not_flaky_since uuid,                    -- the newest run when a case of the policy was no longer flaky
    PRIMARY KEY (org_id, quarantine_id),
    CHECK (CASE WHEN case_key IS NULL THEN coalesce(suite, name) IS NOT NULL
                ELSE coalesce(suite, name) IS NULL AND variant = '{}' END)
);
CREATE INDEX quarantines_by_project ON quarantines (org_id, project_id, quarantine_id);
CREATE INDEX quarantines_by_case ON quarantines (org_id, case_key) WHERE case_key IS NOT NULL;
CREATE INDEX quarantines_open ON quarantines (org_id, project_id, expires_at) WHERE ended_at IS NULL;
CREATE INDEX quarantines_expiring ON quarantines (expires_at) WHERE ended_at IS NULL AND NOT is_expiry_published;

-- Tickets of failure groups. A ticket outlives the failures of its group, and applies to later ones.
CREATE TABLE failure_tickets (
    org_id      int NOT NULL REFERENCES organizations,
    fingerprint bigint NOT NULL,             -- of the group, which contains the project
    ticket_url  text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, fingerprint)
);

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

-- Decisions of gates and of recorded policies about runs: immutable except for a waiver of a gate's decision. They outlive their run, so nothing refers to it.
CREATE TABLE decisions (
    org_id          int NOT NULL REFERENCES organizations,
    decision_id     text NOT NULL,           -- dec_ + 32 hex digits, which start with the time
    project_id      text NOT NULL,
    run_id          text NOT NULL,
    revision        int NOT NULL,            -- of the run
    gate            text,                    -- null: a policy of a request
    gate_version    int,
    policy          jsonb NOT NULL,
    baseline_run_id text,
    decision        text NOT NULL CHECK (decision IN ('passed', 'blocked', 'waived')),
    rules           jsonb NOT NULL,          -- [{rule, limit, value, passed}]
    failures        jsonb NOT NULL,          -- number of failing results by change
    digest          bytea NOT NULL,          -- SHA-256 of the inputs: gates/operations.py
    waiver          jsonb,                   -- {reason, created_by, created_at}
    created_at      timestamptz NOT NULL DEFAULT now(),
    missing         jsonb,                   -- missing parts and cases: comparison/model.py; null: stored by version 0.9
    truncated       bool,                    -- only the first failing cases were searched in the window; null: stored by version 0.9
    created_by      text,                    -- key_…, pub_…, or per_…; null: stored by version 0.10.0 or earlier
    PRIMARY KEY (org_id, decision_id),
    CONSTRAINT decisions_digest_unique UNIQUE NULLS NOT DISTINCT (org_id, gate, digest),
    CONSTRAINT decisions_gate_version CHECK ((gate IS NULL) = (gate_version IS NULL)),
    CONSTRAINT decisions_waiver_of_gate CHECK (gate IS NOT NULL OR waiver IS NULL),
    CHECK ((decision = 'waived') = (waiver IS NOT NULL))
);
CREATE INDEX decisions_by_run ON decisions (org_id, run_id, decision_id);
CREATE INDEX decisions_by_gate ON decisions (org_id, gate, decision_id);
CREATE INDEX decisions_by_project ON decisions (org_id, project_id, decision_id);

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
    shard               smallint NOT NULL DEFAULT 0, -- number of the part that decides the result: run_parts
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
    line              int,                   -- line in the file
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
    shard             smallint NOT NULL DEFAULT 0, -- number of the part that executed the attempt: run_parts
    file              text,                  -- of a failing attempt, as its report stated it; null: that of the case
    PRIMARY KEY (org_id, run_key, case_key, attempt)
) PARTITION BY RANGE (run_key);
-- Includes the fingerprint, so that the failures of a group in a minute are found without reading the rows of others.
CREATE INDEX result_details_by_status ON result_details (org_id, status, run_key, case_key, fingerprint)
    WHERE is_last_attempt AND status <> 'p';
CREATE INDEX result_details_by_case ON result_details (org_id, case_key, run_key)
    WHERE is_last_attempt AND status <> 'p';
CREATE INDEX result_details_flaky ON result_details (org_id, run_key, case_key) WHERE flaky;

-- The minutes of completion in which a failure group has results: only such a minute can contain results of the group.
-- The rows stay if these results are deleted, and several processes can insert the same row, so no key is unique.
-- Not partitioned, so that one index finds the first and the last minute of a group in any number of months.
CREATE TABLE failure_group_minutes (
    fingerprint bigint NOT NULL,
    org_id      int NOT NULL,
    minute      int NOT NULL             -- completion_minute() of the runs
);
CREATE INDEX failure_group_minutes_by_group ON failure_group_minutes (org_id, fingerprint, minute);
-- The table has no key. Citus moves a shard with logical replication, which must identify deleted rows.
ALTER TABLE failure_group_minutes REPLICA IDENTITY FULL;

-- The newest result of each part, only for cases that several parts reported. `results` contains the result that follows from
-- them. If a correction replaces one of them, another part can decide.
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
    artifact_key bigint NOT NULL,            -- hash of receipt_id and name; the files of attempts sort by attempt
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
    receipt_id   text,                       -- of the report that names the file; null if no report names it
    PRIMARY KEY (org_id, run_key, case_key, artifact_key)
) PARTITION BY RANGE (run_key);

-- The files that each key has uploaded on a day in UTC, for the limits per key and day. The jobs of a publisher share one
-- row. For the limits of untrusted uploads, also the uploads of all keys of the role public of each project, and the rows
-- and bytes of results that their reports stored.
CREATE TABLE artifact_usage (
    org_id int NOT NULL REFERENCES organizations,
    key_id text NOT NULL,                    -- key_…, pub_…, per_…, or "untrusted:" or "untrusted-results:" and the project
    day    date NOT NULL,
    files  int NOT NULL,
    bytes  bigint NOT NULL,
    PRIMARY KEY (org_id, key_id, day)
);
CREATE INDEX artifact_usage_by_day ON artifact_usage (day);

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
    replaced      int NOT NULL DEFAULT 0,    -- number of results of the same part that these results replaced
    replaced_failing int NOT NULL DEFAULT 0, -- number of replaced results that were failed or error
    combined      int NOT NULL DEFAULT 0,    -- number of results whose case another part had already reported
    problems      jsonb NOT NULL DEFAULT '[]', -- [{index, name, reason}]
    received_at   timestamptz NOT NULL DEFAULT now(),
    -- Only for uploaded reports. The worker that reads a report has a claim until the lease expires.
    project_id    text,
    upload        jsonb,                     -- files and parameters: reports/model.py
    attempt_count smallint NOT NULL DEFAULT 0,
    due_at        timestamptz,
    claim         uuid,
    lease_until   timestamptz,
    -- Of all events and reports: the part of the run that they contain, as far as it's known.
    shard         smallint NOT NULL DEFAULT 0, -- 0: none
    variant       jsonb NOT NULL DEFAULT '{}', -- of the results that state none
    trace_context jsonb,                     -- of the request or event: traceparent, tracestate; null if tracing is off
    part          text,                      -- name of the CI job, or null
    pipeline      text,                      -- that the event or upload states
    publisher_id  text,                      -- pub_…, if a CI job sent the report with a key of this publisher
    job           text,                      -- that CI job, as its token states it
    PRIMARY KEY (org_id, receipt_id),
    CONSTRAINT receipts_event_unique UNIQUE (org_id, source, event_id)
);
CREATE INDEX receipts_by_run ON receipts (org_id, run_id, receipt_id);
CREATE INDEX receipts_by_event ON receipts (org_id, event_id);
CREATE INDEX receipts_by_pipeline ON receipts (org_id, pipeline, receipt_id) WHERE pipeline IS NOT NULL;
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
    trace_context jsonb,                     -- of the change: traceparent, tracestate; null if tracing is off
    branch     text,                         -- of the event's subject; null: none
    owners     text[],                       -- of its cases; null: none
    state      text,                         -- of its case; null: none
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
    format              text NOT NULL DEFAULT 'standard' CHECK (format IN ('standard', 'slack', 'teams')),
    branch              text,                -- delivers only events of this branch; null: any
    owner               text,                -- delivers only events of cases with this owner; null: any
    state               text,                -- delivers only events of cases in this state; null: any
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

-- Notices: the events for webhooks with a format of messages, until a plan puts each one into a message or a summary.
CREATE TABLE notices (
    org_id     int NOT NULL,
    webhook_id text NOT NULL,
    event_id   text NOT NULL,
    subject    text,                         -- ID of the case or failure group: at most one message per day; null: other events
    due_at     timestamptz DEFAULT now(),    -- time of the next plan: now, or of the summary if held; null: in a message
    decided_at timestamptz,                  -- null: waits for the first plan
    message_id text,                         -- event of the message or summary that contains the notice; null: none yet
    PRIMARY KEY (org_id, event_id, webhook_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX notices_due ON notices (org_id, webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_sent ON notices (org_id, webhook_id, decided_at) WHERE message_id = event_id;

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

-- Whether a webhook is subscribed to an event with these properties.
-- A digest without an owner is only for webhooks without an owner, and the digest of an owner only for those with this owner.
CREATE FUNCTION is_subscribed(
    hook webhooks, event_type text, event_project text, event_branch text, event_owners text[], event_state text
) RETURNS bool
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hook.events = '{}' OR event_type = ANY (hook.events))
       AND (hook.project_id IS NULL OR hook.project_id = event_project)
       AND (hook.branch IS NULL OR hook.branch = event_branch)
       AND (hook.owner IS NULL OR hook.owner = ANY (event_owners))
       AND (hook.state IS NULL OR hook.state = event_state)
       AND (event_type <> 'project.digest' OR event_owners IS NULL OR hook.owner IS NOT NULL);

-- For processes of earlier versions, which know neither formats nor filters.
CREATE FUNCTION is_subscribed(hook webhooks, event_type text, event_project text) RETURNS bool
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hook.events = '{}' OR event_type = ANY (hook.events))
       AND (hook.project_id IS NULL OR hook.project_id = event_project)
       AND hook.format = 'standard' AND hook.branch IS NULL AND hook.owner IS NULL AND hook.state IS NULL;

-- Exports ---------------------------------------------------------------------------------------------------

-- A text as a spreadsheet cell, unless `raw` is true: ' precedes what would be a formula at its start, or after a character
-- that separates cells or rows in some settings. Full-width characters start formulas too. strpos() is fast for most texts.
CREATE FUNCTION spreadsheet_cell(value text, raw bool) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN raw OR value IS NULL OR value = ''
                  OR strpos(E'=+-@\uFF1D\uFF0B\uFF0D\uFF20\t\r\n', left(value, 1)) = 0 AND strpos(value, ';') = 0
                     AND strpos(value, E'\t') = 0 AND strpos(value, E'\n') = 0 AND strpos(value, E'\r') = 0 THEN value
                ELSE CASE WHEN value ~ E'^[-=+@\uFF1D\uFF0B\uFF0D\uFF20\t\r\n]' THEN '''' ELSE '' END
                     || regexp_replace(value, E'([;\t\r\n])(?=[-=+@\uFF1D\uFF0B\uFF0D\uFF20])', E'\\1''', 'g') END;

-- Export jobs. The worker that runs a job has a claim until the lease expires.
CREATE TABLE exports (
    org_id        int NOT NULL REFERENCES organizations,
    export_id     text NOT NULL,             -- exp_ + 32 hex digits, which start with the time
    status        text NOT NULL DEFAULT 'queued'
                CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'canceled', 'expired')),
    request       jsonb NOT NULL,            -- format, compression, content, columns, raw, filter, updated_since
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
    trace_context jsonb,                     -- of the request: traceparent, tracestate; null if tracing is off
    position      text,                      -- position in the event stream after which a change can be missing
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
-- Upkeep deletes the files, because deleting thousands of files takes longer than a transaction can stay open. A path
-- that ends with a slash is the folder of a deleted run: the files in it that no row refers to.
CREATE TABLE file_deletions (
    org_id int NOT NULL REFERENCES organizations,
    path   text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(), -- a worker that deletes the file postpones the next attempt
    PRIMARY KEY (org_id, path)
);
CREATE INDEX file_deletions_due ON file_deletions (due_at);

-- How far upkeep has compared the stored files of an area with the rows that refer to them. The table has no org_id.
CREATE TABLE listing_positions (
    area       text PRIMARY KEY,             -- artifacts, exports, or inbox
    after_path text NOT NULL                 -- the last file that was compared; empty: continue with the first one
);

-- Messages that might have crashed a consumer: the broker delivered them more than once. A consumer records its attempt
-- before it reads the message, and removes it unless its process ends, so that a message that always crashes becomes a
-- dead letter. The table has no org_id.
CREATE TABLE crash_suspects (
    queue         text NOT NULL,
    body_sha256   bytea NOT NULL,
    attempt_count int NOT NULL DEFAULT 1,    -- of processes of version 0.9.0, which count attempts that didn't finish
    attempted_at  timestamptz NOT NULL DEFAULT now(),
    attempted_by  text[] NOT NULL DEFAULT '{}', -- processes: one attempts the message now, and the others have ended
    PRIMARY KEY (queue, body_sha256)
);

-- Responses to mutations with an Idempotency-Key: for 24 hours, a repeated mutation returns the same response.
-- The stored body doesn't contain secrets that are shown only once.
CREATE TABLE idempotency_keys (
    org_id         int NOT NULL REFERENCES organizations,
    api_key_id     text NOT NULL,            -- another key can be bound to another project; of a CI job: Caller.idempotency_holder
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
    actor      text NOT NULL,                -- key_…, pub_…, per_…, "command line", or "policy"
    action     text NOT NULL,                -- POST /v1/api-keys
    subject    text,                         -- created or changed object, if the action doesn't name it
    request_id text,
    job        text,                         -- the CI job, if the actor is a publisher
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
    organization int;
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
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, child, low, high);
        IF parent = 'results' AND child <> base THEN
            FOR organization IN SELECT org_id FROM public.organizations LOOP
                UPDATE public.runs SET results_expired = true
                WHERE org_id = organization AND run_key >= low AND run_key < high AND NOT results_expired
                      AND passed + failed + error + skipped + canceled > 0;
            END LOOP;
        END IF;
    END LOOP;
END $$;

-- Row-level security and grants -----------------------------------------------------------------------------
-- Grants name only the parent tables: the policy doesn't apply to a partition that is read by its own name.

ALTER TABLE organizations  ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys       ENABLE ROW LEVEL SECURITY;
ALTER TABLE producers      ENABLE ROW LEVEL SECURITY;
ALTER TABLE publishers     ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_exchanges ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions       ENABLE ROW LEVEL SECURITY;
ALTER TABLE members        ENABLE ROW LEVEL SECURITY;
ALTER TABLE people         ENABLE ROW LEVEL SECURITY;
ALTER TABLE runs           ENABLE ROW LEVEL SECURITY;
ALTER TABLE run_parts      ENABLE ROW LEVEL SECURITY;
ALTER TABLE cases          ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_owners    ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_states    ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_histories ENABLE ROW LEVEL SECURITY;
ALTER TABLE state_positions ENABLE ROW LEVEL SECURITY;
ALTER TABLE failure_group_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE digests        ENABLE ROW LEVEL SECURITY;
ALTER TABLE projects       ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantines    ENABLE ROW LEVEL SECURITY;
ALTER TABLE failure_tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE gates          ENABLE ROW LEVEL SECURITY;
ALTER TABLE decisions      ENABLE ROW LEVEL SECURITY;
ALTER TABLE excuses        ENABLE ROW LEVEL SECURITY;
ALTER TABLE splits         ENABLE ROW LEVEL SECURITY;
ALTER TABLE split_assignments ENABLE ROW LEVEL SECURITY;
ALTER TABLE results        ENABLE ROW LEVEL SECURITY;
ALTER TABLE result_details ENABLE ROW LEVEL SECURITY;
ALTER TABLE failure_group_minutes ENABLE ROW LEVEL SECURITY;
ALTER TABLE shard_results  ENABLE ROW LEVEL SECURITY;
ALTER TABLE artifacts      ENABLE ROW LEVEL SECURITY;
ALTER TABLE artifact_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE receipts       ENABLE ROW LEVEL SECURITY;
ALTER TABLE exports        ENABLE ROW LEVEL SECURITY;
ALTER TABLE file_deletions ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_trail    ENABLE ROW LEVEL SECURITY;
ALTER TABLE events         ENABLE ROW LEVEL SECURITY;
ALTER TABLE cost_days    ENABLE ROW LEVEL SECURITY;
ALTER TABLE case_costs   ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_costs    ENABLE ROW LEVEL SECURITY;
ALTER TABLE cost_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks       ENABLE ROW LEVEL SECURITY;
ALTER TABLE deliveries     ENABLE ROW LEVEL SECURITY;
ALTER TABLE notices        ENABLE ROW LEVEL SECURITY;
ALTER TABLE recoveries     ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON organizations  TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON api_keys       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON producers      TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON publishers     TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON token_exchanges TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON sessions       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON members        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON people         TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON runs           TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON run_parts      TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON cases          TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON case_owners    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON case_states    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON case_histories TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON state_positions TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON failure_group_states TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON digests        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON cost_days    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON case_costs   TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON job_costs    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON cost_changes TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON projects       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON quarantines    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON failure_tickets TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON gates          TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON decisions      TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON excuses        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON splits         TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON split_assignments TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON results        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON result_details TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON failure_group_minutes TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON shard_results  TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON artifacts      TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON artifact_usage TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON receipts       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON file_deletions TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON idempotency_keys TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON audit_trail    TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON exports        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON events         TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON webhooks       TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON deliveries     TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON notices        TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON recoveries     TO results_api USING (org_id = current_org());
CREATE POLICY key_lookup ON api_keys   TO results_keys USING (true);
CREATE POLICY publisher_lookup ON publishers TO results_keys USING (true);
CREATE POLICY publisher_lookup ON organizations TO results_keys USING (true);
CREATE POLICY session_lookup ON api_keys TO results_sessions USING (true);
CREATE POLICY session_lookup ON sessions TO results_sessions USING (true);
CREATE POLICY membership_lookup ON members TO results_sessions USING (true);
CREATE POLICY membership_lookup ON people TO results_sessions USING (true);
CREATE POLICY membership_lookup ON organizations TO results_sessions USING (true);

GRANT SELECT ON organizations, runs, cases, results, result_details, failure_group_minutes, heartbeats TO results_api;
GRANT SELECT, INSERT, DELETE ON failure_group_minutes TO results_worker;
GRANT SELECT, INSERT, UPDATE ON receipts TO results_api;
GRANT SELECT, UPDATE (default_branch, code_url_pattern, deletion_requested_at, untrusted_uploads, auto_quarantine)
    ON projects TO results_api;
GRANT SELECT, INSERT, UPDATE (deletion_requested_at, auto_quarantine_status, failure_groups_branch), DELETE ON projects TO results_worker;
GRANT SELECT ON case_owners TO results_api;
GRANT SELECT, INSERT, DELETE ON case_owners TO results_worker;
GRANT SELECT ON case_states, case_histories TO results_api;
GRANT SELECT, INSERT, UPDATE ON state_positions TO results_api; -- a change of the default branch
GRANT SELECT, INSERT, UPDATE, DELETE ON case_states, case_histories, state_positions TO results_worker;
GRANT SELECT ON failure_group_states TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON failure_group_states TO results_worker;
GRANT SELECT, INSERT, DELETE ON digests TO results_worker;
GRANT SELECT ON cost_days, case_costs, job_costs TO results_api;
GRANT SELECT, INSERT ON cost_changes TO results_api; -- the deletion of a run
GRANT SELECT, INSERT, DELETE ON cost_days, case_costs, job_costs, cost_changes TO results_worker;
GRANT SELECT, INSERT, UPDATE ON quarantines TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantines TO results_worker; -- INSERT: automatic quarantine
GRANT SELECT, INSERT, UPDATE, DELETE ON failure_tickets TO results_api;
GRANT SELECT, DELETE ON failure_tickets TO results_worker; -- the deletion of an organization
GRANT SELECT, INSERT, UPDATE ON gates TO results_api;
GRANT SELECT, INSERT, UPDATE (decision, waiver) ON decisions TO results_api;
GRANT SELECT, INSERT ON excuses TO results_api;
GRANT SELECT, INSERT ON splits, split_assignments TO results_api;
GRANT SELECT, DELETE ON gates, decisions, excuses TO results_worker; -- the deletion of an organization
GRANT SELECT, DELETE ON splits, split_assignments TO results_worker; -- retention, and deletions
GRANT SELECT, INSERT, UPDATE, DELETE ON artifacts TO results_api;
GRANT SELECT, INSERT, UPDATE ON artifact_usage TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON artifact_usage TO results_worker; -- DELETE: earlier days, and the deletion of an organization
GRANT SELECT, INSERT, UPDATE ON api_keys TO results_api;
GRANT SELECT ON api_keys TO results_keys;
GRANT SELECT, INSERT, DELETE ON producers TO results_worker;
GRANT SELECT, INSERT, UPDATE ON publishers TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON publishers TO results_worker;
GRANT SELECT ON publishers TO results_keys;
GRANT SELECT (org_id, slug) ON organizations TO results_keys;
GRANT SELECT, INSERT ON token_exchanges TO results_api;
GRANT SELECT, DELETE ON token_exchanges TO results_worker;
GRANT SELECT, INSERT, DELETE ON sessions TO results_api;
GRANT SELECT, DELETE ON sessions TO results_worker; -- expired sessions, and the deletion of an organization
GRANT SELECT, INSERT, DELETE ON sign_ins TO results_api;
GRANT SELECT, DELETE ON sign_ins TO results_worker; -- expired rows
GRANT SELECT, INSERT, UPDATE (role, project_id, person_id, last_seen_at, removed_at) ON members TO results_api;
GRANT SELECT, INSERT, UPDATE (email, name, last_seen_at) ON people TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON members TO results_worker;
GRANT SELECT, DELETE ON people TO results_worker; -- erasure, and the deletion of an organization
GRANT SELECT, INSERT ON events TO results_api;
GRANT SELECT, INSERT, UPDATE ON webhooks, deliveries, recoveries TO results_api;
GRANT INSERT ON notices TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON events, webhooks, deliveries, notices, recoveries TO results_worker;
GRANT USAGE ON SEQUENCE event_numbers TO results_worker;
GRANT SELECT, INSERT, UPDATE, DELETE
    ON organizations, api_keys, runs, cases, results, result_details, shard_results, artifacts, receipts, heartbeats
    TO results_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON exports TO results_api, results_worker;
GRANT SELECT, DELETE ON shard_results TO results_api; -- the deletion of a run
GRANT SELECT, DELETE ON run_parts TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON run_parts TO results_worker;
GRANT DELETE ON runs, results, result_details TO results_api;
GRANT UPDATE (pinned, complete, closed, has_been_complete, revision, status) ON runs TO results_api;
GRANT INSERT ON runs TO results_api; -- the promotion of an untrusted run replaces it by a trusted one
GRANT SELECT, INSERT ON file_deletions TO results_api; -- ON CONFLICT needs SELECT
GRANT SELECT, INSERT, UPDATE, DELETE ON file_deletions TO results_worker;
GRANT SELECT, INSERT, UPDATE ON listing_positions TO results_worker;
GRANT SELECT, INSERT, UPDATE ON idempotency_keys TO results_api;
GRANT SELECT, DELETE ON idempotency_keys TO results_worker;
GRANT SELECT, INSERT ON audit_trail TO results_api, results_worker;
GRANT DELETE ON audit_trail TO results_worker; -- the deletion of an organization
GRANT INSERT ON outbox TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, dead_letters, crash_suspects TO results_worker;
GRANT SELECT ON schema_migrations TO results_api, results_worker;
GRANT SELECT ON api_keys, sessions, members, people TO results_sessions;
GRANT SELECT (org_id, slug) ON organizations TO results_sessions;

-- For processes of version 0.9, which don't enforce the claims of CI jobs, and therefore get no key of a publisher.
CREATE FUNCTION find_key(requested_key_id text)
    RETURNS TABLE (org_id int, role text, project_id text, secret_sha256 bytea, previous_sha256 bytea,
                   previous_expires_at timestamptz, expires_at timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.role, k.project_id, k.secret_sha256, k.previous_sha256,
           k.previous_expires_at, k.expires_at, k.revoked_at
    FROM public.api_keys k WHERE k.key_id = requested_key_id AND k.publisher_id IS NULL
$$;
GRANT CREATE ON SCHEMA public TO results_keys; -- required to become the owner of the function
ALTER FUNCTION find_key(text) OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION find_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_key(text) TO results_api;

-- Find a key, also one of a publisher, before the organization is known. The function can read only api_keys.
CREATE FUNCTION find_stored_key(requested_key_id text)
    RETURNS TABLE (org_id int, role text, project_id text, secret_sha256 bytea, previous_sha256 bytea,
                   previous_expires_at timestamptz, expires_at timestamptz, revoked_at timestamptz, job jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.role, k.project_id, k.secret_sha256, k.previous_sha256,
           k.previous_expires_at, k.expires_at, k.revoked_at, k.job
    FROM public.api_keys k WHERE k.key_id = requested_key_id
$$;
GRANT CREATE ON SCHEMA public TO results_keys; -- required to become the owner of the function
ALTER FUNCTION find_stored_key(text) OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION find_stored_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_stored_key(text) TO results_api;

-- Find the publishers of an issuer whose IDs an authentic token has, before the organization is known. `identities` are the
-- IDs for each provider. Publishers of the provider oidc have no IDs.
CREATE FUNCTION find_publishers(requested_issuer text, identities jsonb[])
    RETURNS TABLE (org_id int, slug text, publisher_id text, provider text, claims jsonb, project_id text, role text, enabled bool)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT p.org_id, o.slug, p.publisher_id, p.provider, p.claims, p.project_id, p.role, p.enabled
    FROM public.publishers p JOIN public.organizations o ON o.org_id = p.org_id
    WHERE p.issuer = requested_issuer AND p.deleted_at IS NULL
      AND (p.provider = 'oidc' OR p.claims @> ANY (identities))
$$;

-- Only issuers that a publisher names are ever contacted.
CREATE FUNCTION is_issuer_known(requested_issuer text) RETURNS bool
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM public.publishers p WHERE p.issuer = requested_issuer AND p.deleted_at IS NULL)
$$;

-- The issuers of all enabled publishers. A process reads them once a minute instead of one for each token of a stranger.
CREATE FUNCTION list_issuers() RETURNS TABLE (issuer text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT DISTINCT p.issuer FROM public.publishers p WHERE p.enabled AND p.deleted_at IS NULL
$$;
GRANT CREATE ON SCHEMA public TO results_keys; -- required to become the owner of the functions
ALTER FUNCTION find_publishers(text, jsonb[]) OWNER TO results_keys;
ALTER FUNCTION is_issuer_known(text) OWNER TO results_keys;
ALTER FUNCTION list_issuers() OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION find_publishers(text, jsonb[]), is_issuer_known(text), list_issuers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_publishers(text, jsonb[]), is_issuer_known(text), list_issuers() TO results_api;

-- Find a session that hasn't ended, before the organization is known. The function can read only api_keys and sessions.
CREATE FUNCTION find_session(requested_sha256 bytea)
    RETURNS TABLE (org_id int, key_id text, role text, project_id text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.key_id, k.role, k.project_id
    FROM public.sessions s JOIN public.api_keys k ON k.org_id = s.org_id AND k.key_id = s.key_id
    WHERE s.session_sha256 = requested_sha256 AND s.expires_at > now() AND k.secret_sha256 = s.secret_sha256
          AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
GRANT CREATE ON SCHEMA public TO results_sessions; -- required to become the owner of the function
ALTER FUNCTION find_session(bytea) OWNER TO results_sessions;
REVOKE CREATE ON SCHEMA public FROM results_sessions;
REVOKE ALL ON FUNCTION find_session(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_session(bytea) TO results_api;

-- Find the session of a person that hasn't ended, before the organization is known. The role and the project are those of the
-- member now. A member of an email belongs only to the person to whom it is bound. A person who was erased has no session.
CREATE FUNCTION find_person_session(requested_sha256 bytea)
    RETURNS TABLE (org_id int, person_id text, member_id text, role text, project_id text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT m.org_id, s.person_id, m.member_id, m.role, m.project_id
    FROM public.sessions s JOIN public.members m ON m.org_id = s.org_id AND m.member_id = s.member_id
        JOIN public.people p ON p.org_id = s.org_id AND p.person_id = s.person_id
    WHERE s.session_sha256 = requested_sha256 AND s.expires_at > now() AND m.removed_at IS NULL
          AND (m.group_name IS NOT NULL OR m.person_id = s.person_id)
$$;
GRANT CREATE ON SCHEMA public TO results_sessions; -- required to become the owner of the function
ALTER FUNCTION find_person_session(bytea) OWNER TO results_sessions;
REVOKE CREATE ON SCHEMA public FROM results_sessions;
REVOKE ALL ON FUNCTION find_person_session(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_person_session(bytea) TO results_api;

-- Find the memberships of a person who signs in, before the organization is known. A member of an email matches the person
-- of its first sign-in, and before that any person with this verified email.
CREATE FUNCTION find_memberships(requested_issuer text, requested_subject text, verified_email text, stated_groups text[])
    RETURNS TABLE (org_id int, slug text, member_id text, role text, project_id text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT m.org_id, o.slug, m.member_id, m.role, m.project_id
    FROM (
        SELECT member.* FROM public.people p
            JOIN public.members member ON member.org_id = p.org_id AND member.person_id = p.person_id
        WHERE p.issuer = requested_issuer AND p.subject = requested_subject
        UNION ALL
        SELECT member.* FROM public.members member WHERE member.email = verified_email AND member.person_id IS NULL
        UNION ALL
        SELECT member.* FROM public.members member WHERE member.group_name = ANY (stated_groups)
    ) m JOIN public.organizations o ON o.org_id = m.org_id
    WHERE m.removed_at IS NULL
$$;
GRANT CREATE ON SCHEMA public TO results_sessions; -- required to become the owner of the function
ALTER FUNCTION find_memberships(text, text, text, text[]) OWNER TO results_sessions;
REVOKE CREATE ON SCHEMA public FROM results_sessions;
REVOKE ALL ON FUNCTION find_memberships(text, text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_memberships(text, text, text, text[]) TO results_api;

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
