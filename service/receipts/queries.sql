-- Receipts, as fragments (see results.sql).

-- name: page_of_receipts  (newest first; returns one row more than fits into the page, so that the caller knows that there are more)
SELECT receipt_id, status, run_id, pipeline, part, shard, variant, source, event_id, results, replaced, replaced_failing, combined,
       CASE WHEN fits THEN problems END, received_at, publisher_id,
       (SELECT p.name FROM publishers p WHERE p.org_id = :org_id AND p.publisher_id = sized.publisher_id) AS publisher_name, job, fits
FROM (
    SELECT listed.*, row_number() OVER newest_first <= :page::int AND
           sum(octet_length(problems::text)) OVER newest_first - octet_length(problems::text) < {page_bytes} AS fits
    FROM (
        SELECT receipt_id, status, run_id, pipeline, part, nullif(shard, 0) AS shard, variant, source, event_id, results, replaced,
               replaced_failing, combined, problems, received_at, publisher_id, job
        FROM receipts r
        WHERE org_id = :org_id AND {driver} AND receipt_id < :before
          AND (:run_id::text IS NULL OR run_id = :run_id) AND (:event_id::text IS NULL OR event_id = :event_id)
          AND (:pipeline::text IS NULL OR pipeline = :pipeline)
          AND {run_is_shown}
          AND (:project_id::text IS NULL OR r.project_id = :project_id OR r.project_id IS NULL AND {run_is_of_project})
        ORDER BY receipt_id DESC LIMIT :page::int + 1
    ) listed
    WINDOW newest_first AS (ORDER BY receipt_id DESC)
) sized
ORDER BY receipt_id DESC

-- name: run_is_shown  (untrusted reports only if the filter names the event, or their run before its promotion)
-- The promotion of a run marks the reports that it names. The other ones are no longer part of the run. For example, a stranger
-- has sent one to the same run that was rejected: a gate that waits for the reports of the run doesn't find it.
(r.run_id IS NULL OR NOT starts_with(r.run_id, 'untrusted:') OR r.upload ? 'is_promoted' OR :event_id::text IS NOT NULL
 OR :run_id::text IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.org_id = :org_id AND runs.run_id = :run_id AND runs.trusted IS NOT FALSE))

-- name: receipts_of_event
event_id = :event_id

-- name: receipts_of_run
run_id = :run_id

-- name: receipts_of_pipeline
pipeline = :pipeline

-- name: receipts_of_all
true

-- name: run_is_of_project  (of the run of the receipt)
EXISTS (SELECT 1 FROM runs WHERE runs.org_id = :org_id AND runs.run_id = r.run_id AND runs.project_id = :project_id)

-- name: run_is_one_of_project  (if runs are distributed, each one can't be looked up for a receipt)
r.run_id IN (SELECT run_id FROM runs WHERE runs.org_id = :org_id AND runs.project_id = :project_id)
