-- $1 org_id

SELECT v.version::text FROM case_versions v WHERE v.org_id = $1;
