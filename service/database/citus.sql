-- Distribution of tables by Citus. Only these statements use its catalog.

-- name: find_tables  (of the names $1: whether each table that exists is distributed)
SELECT relname AS name, oid IN (SELECT logicalrelid FROM pg_dist_partition WHERE partmethod = 'h') AS is_distributed
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY ($1::text[])

-- name: has_citus
SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL

-- name: count_workers
SELECT count(*) FROM pg_dist_node WHERE groupid <> 0 AND isactive AND shouldhaveshards AND noderole = 'primary'

-- name: is_coordinator
SELECT citus_is_coordinator()

-- name: find_consumers  (the roles of the consumers that are running)
SELECT DISTINCT role FROM heartbeats WHERE heartbeat_at > now() - interval '15 seconds' ORDER BY role

-- name: find_foreign_keys  (of the tables $1: a distributed table can't refer to a table of the coordinator)
SELECT format('ALTER TABLE public.%I DROP CONSTRAINT %I', relname, conname)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE contype = 'f' AND conparentid = 0 AND relnamespace = 'public'::regnamespace AND relname = ANY ($1::text[])

-- name: find_triggers  (of the tables $1: a distributed table can't have a trigger)
SELECT format('DROP TRIGGER %I ON public.%I', tgname, relname)
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace AND relname = ANY ($1::text[])

-- name: count_shards  (of a distributed table)
SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = $1::text::regclass

-- name: distribute_first
SELECT create_distributed_table($1::text::regclass, 'org_id', shard_count => $2)

-- name: distribute_with  (each shard is on the same worker as that of the table $2)
SELECT create_distributed_table($1::text::regclass, 'org_id', colocate_with => $2)

-- name: truncate_local_rows  (the rows are in the shards now)
SELECT truncate_local_data_after_distributing_table($1::text::regclass)

-- name: has_commit_mark
SELECT to_regclass('public.commit_mark') IS NOT NULL

-- name: manage_commit_mark
SELECT citus_add_local_table_to_metadata('public.commit_mark')

-- name: find_worker  (that has the rows of the organization $1)
SELECT nodename, nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid)
WHERE shardid = get_shard_id_for_distribution_column('runs', $1::int) AND noderole = 'primary'

-- name: can_reach  (the worker with the host $1 and the port $2; false after citus.node_connection_timeout)
SELECT citus_check_connection_to_node($1::text, $2::int)

-- name: read_all_shards
SELECT count(*) FROM runs
