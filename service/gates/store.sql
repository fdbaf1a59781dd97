-- name: insert
INSERT INTO gates (org_id, name, policy) VALUES ($1, $2, $3) ON CONFLICT (org_id, name) DO NOTHING RETURNING true

-- name: lock  (returns whether the gate is deleted)
SELECT deleted_at IS NOT NULL FROM gates WHERE org_id = $1 AND name = $2 FOR UPDATE

-- name: replace  (the version of a deleted gate continues)
UPDATE gates
SET version = version + (policy <> $3)::int,
    updated_at = CASE WHEN policy <> $3 OR deleted_at IS NOT NULL THEN now() ELSE updated_at END,
    policy = $3, deleted_at = NULL
WHERE org_id = $1 AND name = $2

-- name: delete
UPDATE gates SET deleted_at = now() WHERE org_id = $1 AND name = $2 AND deleted_at IS NULL RETURNING 1

-- name: find
SELECT version, policy FROM gates WHERE org_id = $1 AND name = $2 AND deleted_at IS NULL

-- name: lock_decision
SELECT gate, decision FROM decisions
WHERE org_id = $1 AND decision_id = $2 AND ($3::text IS NULL OR project_id = $3) FOR UPDATE

-- name: waive
UPDATE decisions
SET decision = 'waived',
    waiver = jsonb_build_object('reason', $3::text, 'created_by', $4::text, 'created_at', rfc3339(now()))
WHERE org_id = $1 AND decision_id = $2

-- name: find_by_digest
SELECT decision_id, decision, digest FROM decisions WHERE org_id = $1 AND gate = $2 AND digest = $3

-- name: find_recorded  (a decision without a gate)
SELECT decision_id, decision, digest FROM decisions WHERE org_id = $1 AND gate IS NULL AND digest = $2

-- name: find_newest  (the two newest ones about a run, of a gate, or of a recorded policy)
SELECT decision_id, decision, digest FROM decisions
WHERE org_id = $1 AND run_id = $2 AND gate IS NOT DISTINCT FROM $3::text AND ($3::text IS NOT NULL OR policy = $4::jsonb)
ORDER BY decision_id DESC LIMIT 2

-- name: insert_decision  (if a concurrent transaction inserted the same digest, PostgreSQL reports a conflict of the snapshots)
INSERT INTO decisions (org_id, decision_id, project_id, run_id, revision, gate, gate_version, policy, baseline_run_id,
                       decision, rules, failures, missing, truncated, digest, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (org_id, gate, digest) DO NOTHING
