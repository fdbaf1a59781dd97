-- Distribution of tables by Citus. Only these statements use its catalog.

-- name: find_tables(tables)  (whether each table that exists is distributed)
SELECT relname AS name, oid IN (SELECT logicalrelid FROM pg_dist_partition WHERE partmethod = 'h') AS is_distributed
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (:tables::text[])

-- name: has_citus()
SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL

-- name: count_workers()
SELECT count(*) FROM pg_dist_node WHERE groupid <> 0 AND isactive AND shouldhaveshards AND noderole = 'primary'

-- name: is_coordinator()
SELECT citus_is_coordinator()

-- name: find_consumers()  (the roles of the consumers that are running)
SELECT DISTINCT role FROM heartbeats WHERE heartbeat_at > now() - interval '15 seconds' ORDER BY role

-- name: find_foreign_keys(tables)  (a distributed table can't refer to a table of the coordinator)
SELECT format('ALTER TABLE public.%I DROP CONSTRAINT %I', relname, conname)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE contype = 'f' AND conparentid = 0 AND relnamespace = 'public'::regnamespace AND relname = ANY (:tables::text[])

-- name: find_triggers(tables)  (a distributed table can't have a trigger)
SELECT format('DROP TRIGGER %I ON public.%I', tgname, relname)
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace AND relname = ANY (:tables::text[])

-- name: count_shards(table)  (of a distributed table)
SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = :table::text::regclass

-- name: distribute_first(table, shards)
SELECT create_distributed_table(:table::text::regclass, 'org_id', shard_count => :shards)

-- name: distribute_with(table, colocated)  (each shard is on the same worker as the shard of the table :colocated)
SELECT create_distributed_table(:table::text::regclass, 'org_id', colocate_with => :colocated)

-- name: truncate_local_rows(table)  (the rows are in the shards now)
SELECT truncate_local_data_after_distributing_table(:table::text::regclass)

-- name: has_commit_mark()
SELECT to_regclass('public.commit_mark') IS NOT NULL

-- name: manage_commit_mark()
SELECT citus_add_local_table_to_metadata('public.commit_mark')

-- name: find_worker(org_id)  (that has the rows of the organization)
SELECT nodename, nodeport FROM pg_dist_placement JOIN pg_dist_node USING (groupid)
WHERE shardid = get_shard_id_for_distribution_column('runs', :org_id::int) AND noderole = 'primary'

-- name: can_reach(host, port)  (false after citus.node_connection_timeout)
SELECT citus_check_connection_to_node(:host::text, :port::int)

-- name: read_all_shards()
SELECT count(*) FROM runs
