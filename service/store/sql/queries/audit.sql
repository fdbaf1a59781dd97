-- The audit trail as commands show it, in fragments that service/store/postgres/composition.py composes.

-- name: newest_audit_entries
SELECT rfc3339(a.at) AS at, a.actor, a.action, a.subject, a.request_id, {actor_name} AS actor_name, a.job
FROM (SELECT * FROM audit_trail WHERE org_id = :org_id ORDER BY entry_id DESC LIMIT :page) a
CROSS JOIN LATERAL (SELECT a.org_id, a.actor AS id) actor
ORDER BY a.entry_id DESC
