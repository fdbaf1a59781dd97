-- $1 org_ids
-- $2 run_keys

SELECT part.run_key, part.number, part.name, part.variant, part.shard, part.attempt
FROM unnest($1::int[], $2::uuid[]) AS requested (org_id, run_key)
JOIN run_parts part ON part.org_id = requested.org_id AND part.run_key = requested.run_key
WHERE part.number > 10000;
