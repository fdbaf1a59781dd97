-- $1 org_id
-- $2 case_keys

SELECT array_agg(c.case_key) AS case_keys,
       array_agg(
           encode(int8send(c.case_key), 'hex') || '","case_id":' || coalesce(to_json(c.case_id)::text, 'null')
               || ',"variant":' || c.variant || ',"suite":' || to_json(c.suite) || ',"name":' || to_json(c.name)
               || ',"file":' || coalesce(to_json(c.file)::text, 'null') || ',"status":"'
       ) AS members, concat_ws(' ', (SELECT v.version FROM case_versions v WHERE v.org_id = $1), pg_relation_filenode(to_regclass('cases')))
           AS case_version
FROM cases c WHERE c.org_id = $1 AND c.case_key = ANY ($2::bigint[]);
