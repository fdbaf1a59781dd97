-- Citus moves a shard with logical replication, which must identify deleted rows. The table has no key.
ALTER TABLE failure_group_minutes REPLICA IDENTITY FULL;
