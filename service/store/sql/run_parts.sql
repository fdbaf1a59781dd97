-- name: write  (sorted; no row changes if the part is stored already)
INSERT INTO run_parts AS known (org_id, run_key, number, name, variant, shard, attempt, has_results)
SELECT org_id, run_key, number, name, variant::jsonb, shard, attempt, has_results
FROM unnest($1::int[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::int[], $7::bigint[], $8::bool[])
    AS new (org_id, run_key, number, name, variant, shard, attempt, has_results)
ORDER BY org_id, run_key, number
ON CONFLICT (org_id, run_key, number) DO UPDATE SET has_results = true
    WHERE excluded.has_results AND NOT known.has_results
