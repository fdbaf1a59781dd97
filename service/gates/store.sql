-- Gates, and the decisions about runs.

-- name: insert(org_id, name, policy)
INSERT INTO gates (org_id, name, policy) VALUES (:org_id, :name, :policy) ON CONFLICT (org_id, name) DO NOTHING RETURNING true

-- name: lock(org_id, name)  (returns whether the gate is deleted)
SELECT deleted_at IS NOT NULL FROM gates WHERE org_id = :org_id AND name = :name FOR UPDATE

-- name: replace(org_id, name, policy)  (the version of a deleted gate continues)
UPDATE gates
SET version = version + (policy <> :policy)::int,
    updated_at = CASE WHEN policy <> :policy OR deleted_at IS NOT NULL THEN now() ELSE updated_at END,
    policy = :policy, deleted_at = NULL
WHERE org_id = :org_id AND name = :name

-- name: delete(org_id, name)
UPDATE gates SET deleted_at = now() WHERE org_id = :org_id AND name = :name AND deleted_at IS NULL RETURNING 1

-- name: find(org_id, name)
SELECT version, policy FROM gates WHERE org_id = :org_id AND name = :name AND deleted_at IS NULL

-- name: lock_decision(org_id, decision_id, project_id)
SELECT gate, decision FROM decisions
WHERE org_id = :org_id AND decision_id = :decision_id AND {is_of_project} FOR UPDATE

-- name: waive(org_id, decision_id, reason, created_by)
UPDATE decisions
SET decision = 'waived',
    waiver = jsonb_build_object('reason', :reason::text, 'created_by', :created_by::text, 'created_at', rfc3339(now()))
WHERE org_id = :org_id AND decision_id = :decision_id

-- name: find_by_digest(org_id, gate, digest)
SELECT decision_id, decision, digest FROM decisions WHERE org_id = :org_id AND gate = :gate AND digest = :digest

-- name: find_recorded(org_id, digest)  (a decision without a gate)
SELECT decision_id, decision, digest FROM decisions WHERE org_id = :org_id AND gate IS NULL AND digest = :digest

-- name: find_newest(org_id, run_id, gate, policy)  (the two newest ones about a run, of a gate, or of a recorded policy)
SELECT decision_id, decision, digest FROM decisions
WHERE org_id = :org_id AND run_id = :run_id AND gate IS NOT DISTINCT FROM :gate::text
      AND (:gate::text IS NOT NULL OR policy = :policy::jsonb)
ORDER BY decision_id DESC LIMIT 2

-- name: insert_decision(org_id, decision_id, project_id, run_id, revision, gate, gate_version, policy, baseline_run_id,
--     decision, rules, failures, missing, truncated, digest, created_by)
--     (if a concurrent transaction inserted the same digest, PostgreSQL reports a conflict of the snapshots)
INSERT INTO decisions (org_id, decision_id, project_id, run_id, revision, gate, gate_version, policy, baseline_run_id,
                       decision, rules, failures, missing, truncated, digest, created_by)
VALUES (:org_id, :decision_id, :project_id, :run_id, :revision, :gate, :gate_version, :policy, :baseline_run_id, :decision,
        :rules, :failures, :missing, :truncated, :digest, :created_by)
ON CONFLICT (org_id, gate, digest) DO NOTHING

-- name: gate_object
SELECT g.name, g.version, g.policy, rfc3339(g.updated_at) AS updated_at FROM gates g

-- name: one_gate
SELECT row_to_json(item)::text
FROM (
    {gate_object}
    WHERE g.org_id = :org_id AND g.name = :name AND g.deleted_at IS NULL
) item

-- name: page_of_gates  (`next` is the last name of a page with more gates after it)
SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE row_no <= :page::int), '') || ']' AS data,
       CASE WHEN count(*) > :page::int THEN max(name) FILTER (WHERE row_no <= :page::int) END AS next
FROM (
    SELECT row_to_json(page)::text AS item, name, row_number() OVER (ORDER BY name) AS row_no
    FROM (
        {gate_object}
        WHERE g.org_id = :org_id AND g.name > :after::text AND g.deleted_at IS NULL
        ORDER BY g.name LIMIT :page::int + 1
    ) page
) numbered

-- name: decision_fields
d.decision_id AS id, {organization_id}, d.run_id, d.revision, d.gate, d.gate_version, d.policy, d.baseline_run_id, d.decision, d.rules,
d.failures, d.missing -> 'missing_parts' AS missing_parts, d.missing -> 'missing_cases' AS missing_cases,
d.missing -> 'missing_cases_sample' AS missing_cases_sample, d.missing -> 'missing_items' AS missing_items,
d.missing -> 'missing_items_sample' AS missing_items_sample, d.truncated, {waiver} AS waiver, d.created_by,
(SELECT {actor_name} FROM (SELECT :org_id::int AS org_id, d.created_by AS id) actor) AS created_by_name,
rfc3339(d.created_at) AS created_at

-- name: waiver  (with the name of its actor, which isn't stored in the decision)
CASE WHEN d.waiver IS NOT NULL THEN d.waiver || jsonb_build_object('created_by_name', (
    SELECT {actor_name} FROM (SELECT :org_id::int AS org_id, d.waiver ->> 'created_by' AS id) actor
)) END

-- name: one_decision
SELECT row_to_json(item)::text
FROM (
    SELECT {decision_fields} FROM decisions d
    WHERE d.org_id = :org_id AND d.decision_id = :decision_id AND (:project_id::text IS NULL OR d.project_id = :project_id)
) item

-- name: dry_decision  (which isn't stored)
SELECT row_to_json(item)::text
FROM (
    SELECT {decision_fields}
    FROM (
        SELECT NULL::text AS decision_id, :run_id::text AS run_id, :revision::int AS revision, :gate::text AS gate,
               :gate_version::int AS gate_version, :policy::jsonb AS policy, :baseline_run_id::text AS baseline_run_id,
               :decision::text AS decision, :rules::jsonb AS rules, :failures::jsonb AS failures, :missing::jsonb AS missing,
               :truncated::bool AS truncated, NULL::jsonb AS waiver, NULL::text AS created_by,
               now() AS created_at
    ) d
) item

-- name: page_of_decisions  (newest first; examines at most {row_budget} decisions, so a page can be short or empty)
WITH examined AS MATERIALIZED (
    SELECT *, row_number() OVER () AS examined_no FROM (
        SELECT * FROM decisions
        WHERE org_id = :org_id AND {driver} AND decision_id < :before::text
        ORDER BY decision_id DESC LIMIT {row_budget}
    ) newest
), matching AS MATERIALIZED (
    SELECT * FROM examined d
    WHERE (:project_id::text IS NULL OR d.project_id = :project_id) AND (:run_id::text IS NULL OR d.run_id = :run_id)
      AND (:gate::text IS NULL OR d.gate = :gate) AND (:decision::text IS NULL OR d.decision = :decision)
    ORDER BY decision_id DESC LIMIT :page::int + 1
)
SELECT data, coalesce(next, (SELECT decision_id FROM examined WHERE examined_no = {row_budget})) AS next
FROM (
    {page_by_id}
) page

-- name: listed_decisions
SELECT {decision_fields} FROM matching d

-- name: decisions_of_run
run_id = :run_id

-- name: decisions_of_gate
gate = :gate

-- name: decisions_of_project
project_id = :project_id

-- name: decisions_of_all
true

-- name: decisions_of_runs  (of the requested revisions of runs, newest first, among the newest {run_decisions} of each run)
-- The newest one of each gate, and of each recorded policy, so that a gate that is applied often doesn't hide another one.
SELECT requested.run_key, d.*
FROM unnest(:run_keys::uuid[], :run_ids::text[], :project_ids::text[], :revisions::int[])
    AS requested (run_key, run_id, project_id, revision)
CROSS JOIN LATERAL (
    SELECT decision_id, decision, gate, revision, (failures -> 'new')::int AS new, (failures -> 'known')::int AS known,
           (failures -> 'flaky')::int AS flaky, (failures -> 'quarantined')::int AS quarantined,
           CASE WHEN missing IS NULL THEN NULL WHEN missing -> 'missing_parts' = '[]' THEN 0 ELSE (
               SELECT count(*) FILTER (WHERE part -> 'allowed' = 'false')
               FROM jsonb_array_elements(missing -> 'missing_parts') part
           )::int END AS missing_parts,
           baseline_run_id IS NOT NULL AS has_baseline, recorded_policy AS policy, created_at
    FROM (
        SELECT DISTINCT ON (gate, recorded_policy) * FROM (
            SELECT *, CASE WHEN gate IS NULL THEN policy::text END AS recorded_policy FROM decisions
            WHERE org_id = :org_id AND run_id = requested.run_id ORDER BY decision_id DESC LIMIT {run_decisions}
        ) examined
        WHERE revision = requested.revision AND project_id = requested.project_id
        ORDER BY gate, recorded_policy, decision_id DESC
    ) newest
) d
ORDER BY d.decision_id DESC

-- name: find_uploads(org_id, project_id, run_id, receipt_ids)  (receipts of the run; only a request states an attempt here)
SELECT receipt_id, status, results, problems, coalesce(part, '') AS name, variant, shard,
       (upload -> 'run' ->> 'attempt')::bigint AS attempt
FROM receipts
WHERE org_id = :org_id AND run_id = :run_id AND receipt_id = ANY (:receipt_ids::text[])
      AND (project_id IS NULL OR project_id = :project_id)

-- name: find_other_upload(org_id, run_id, receipt_ids, name, variant, shard, attempts)
--     (a further receipt of the part and of one of the attempts; without a name, of any part without a name)
SELECT receipt_id FROM receipts
WHERE org_id = :org_id AND run_id = :run_id AND receipt_id <> ALL (:receipt_ids::text[]) AND status <> 'rejected'
      AND coalesce(part, '') = :name AND (:name = '' OR variant = :variant AND shard = :shard)
      AND coalesce((upload -> 'run' ->> 'attempt')::bigint, 0) = ANY (:attempts::bigint[] || 0::bigint)
ORDER BY receipt_id LIMIT 1

-- name: find_numbers(org_id, run_key, name, variant, shard)
--     (of all attempts of the part, with what its newest event states; without a name, of all parts without a name)
SELECT p.number, p.attempt, p.attempt = max(p.attempt) OVER (PARTITION BY p.variant, p.shard) AS is_newest,
       coalesce((r.shard_versions -> p.number::text ->> 1)::bool, r.failures_missing) AS failures_missing,
       r.shard_versions -> p.number::text ->> 2 AS status
FROM run_parts p JOIN runs r ON r.org_id = :org_id AND r.run_key = p.run_key
WHERE p.org_id = :org_id AND p.run_key = :run_key AND p.name = :name
      AND (:name = '' OR p.variant = :variant AND p.shard = :shard)

-- name: find_runs_of_part(org_id, run_keys, name, variant, shard)  (runs with results of the part)
SELECT DISTINCT run_key FROM run_parts
WHERE org_id = :org_id AND run_key = ANY (:run_keys::uuid[]) AND name = :name AND has_results
      AND (:name = '' OR variant = :variant AND shard = :shard)

-- name: read_part(org_id, run_key, baseline_key, numbers, newest, baseline_numbers, max_failing, max_missing)
--     (the cases of a part: of the attempts :numbers, each failure counts that no later attempt replaced, and of the newest
--      ones, each execution; shard_results has the results of cases that several parts reported)
WITH mine AS MATERIALIZED (
    SELECT case_key, bool_or(status IN ('f', 'e')) AS is_failing,
           bool_or(is_newest AND status IN ('p', 'f', 'e')) AS is_executed, bool_or(is_newest) AS is_newest
    FROM (
        SELECT case_key, status::text AS status, shard = ANY (:newest::smallint[]) AS is_newest FROM results
        WHERE org_id = :org_id AND run_key = :run_key AND shard = ANY (:numbers::smallint[])
        UNION ALL
        SELECT case_key, result ->> 'status', true FROM shard_results
        WHERE org_id = :org_id AND run_key = :run_key AND shard = ANY (:newest::smallint[])
    ) stored
    GROUP BY case_key
), expected AS MATERIALIZED (
    SELECT DISTINCT case_key
    FROM (
        SELECT case_key, status::text AS status FROM results
        WHERE org_id = :org_id AND run_key = :baseline_key AND shard = ANY (:baseline_numbers::smallint[])
        UNION ALL
        SELECT case_key, result ->> 'status' FROM shard_results
        WHERE org_id = :org_id AND run_key = :baseline_key AND shard = ANY (:baseline_numbers::smallint[])
    ) stored
    WHERE status IN ('p', 'f', 'e')
), missing AS MATERIALIZED (
    SELECT case_key FROM expected
    WHERE NOT EXISTS (SELECT FROM mine WHERE mine.case_key = expected.case_key AND mine.is_executed)
)
SELECT (SELECT count(*) FROM mine WHERE is_newest) AS results, (SELECT count(*) FROM mine WHERE is_failing) AS failing,
       ARRAY(SELECT case_key FROM mine WHERE is_failing ORDER BY case_key LIMIT :max_failing) AS first_failing,
       (SELECT count(*) FROM expected) AS expected, (SELECT count(*) FROM missing) AS missing,
       ARRAY(SELECT case_key FROM missing ORDER BY case_key LIMIT :max_missing) AS first_missing

-- name: find_outside(org_id, run_key, case_keys, pattern, property_name)
--     (cases with a failing attempt of any part whose texts match; pytest adds the error of a teardown to the details)
SELECT DISTINCT case_key
FROM (
    SELECT case_key, status::text AS status, type, message, details, properties FROM result_details
    WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])
    UNION ALL
    SELECT case_key, a ->> 'status', a ->> 'type', a ->> 'message', a ->> 'details', a -> 'properties'
    FROM shard_results CROSS JOIN LATERAL jsonb_array_elements(result -> 'attempts') a
    WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])
) attempt
WHERE status IN ('f', 'e') AND (type ~* :pattern::text OR message ~* :pattern::text OR properties ? :property_name::text
                                OR details ~ 'failed on teardown with|test teardown failure')

-- name: insert_excuse(org_id, excuse_id, project_id, run_id, document, digest, created_by)
--     (if a concurrent transaction inserted the same digest, PostgreSQL reports a conflict of the snapshots)
INSERT INTO excuses (org_id, excuse_id, project_id, run_id, document, digest, created_by)
VALUES (:org_id, :excuse_id, :project_id, :run_id, :document, :digest, :created_by)
ON CONFLICT (org_id, digest) DO NOTHING

-- name: excuse_object
SELECT e.excuse_id, e.document || jsonb_build_object(
    'id', e.excuse_id, 'created_by', e.created_by, 'created_at', rfc3339(e.created_at),
    'created_by_name', (SELECT {actor_name} FROM (SELECT :org_id::int AS org_id, e.created_by AS id) actor)) AS item
FROM excuses e WHERE e.org_id = :org_id

-- name: one_excuse
SELECT item::text FROM ({excuse_object} AND e.digest = :digest) found

-- name: newest_excuses  (of a run, newest first)
SELECT coalesce(jsonb_agg(item ORDER BY excuse_id DESC), '[]')::text
FROM (
    {excuse_object} AND e.run_id = :run_id AND e.project_id = :project_id ORDER BY e.excuse_id DESC LIMIT :page::int
) newest
