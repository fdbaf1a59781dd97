-- Sessions of people who signed in with OpenID Connect. find_session stays unchanged, because processes of an earlier version
-- use it: they find only the sessions of keys. The table is small, so the check of its rows takes milliseconds.
ALTER TABLE sessions
    ALTER COLUMN key_id DROP NOT NULL,
    ALTER COLUMN secret_sha256 DROP NOT NULL,
    ADD COLUMN person_id text,
    ADD COLUMN member_id text,
    ADD CONSTRAINT sessions_owner_check CHECK (
        CASE WHEN person_id IS NULL THEN key_id IS NOT NULL AND secret_sha256 IS NOT NULL AND member_id IS NULL
             ELSE member_id IS NOT NULL AND key_id IS NULL AND secret_sha256 IS NULL END);

-- People who have several memberships and still have to choose one: after the provider has identified the person, and before
-- the organization is known.
CREATE TABLE sign_ins (
    sign_in_sha256 bytea PRIMARY KEY,        -- digest of the random ID in the cookie of the browser
    identity       jsonb NOT NULL,           -- what the provider states about the person
    expires_at     timestamptz NOT NULL
);
GRANT SELECT, INSERT, DELETE ON sign_ins TO results_api;
GRANT SELECT, DELETE ON sign_ins TO results_worker; -- expired rows

-- Find the session of a person that hasn't ended, before the organization is known. The role and the project are those of the
-- member now. A member of an email belongs only to the person to whom it is bound. A person who was erased has no session.
CREATE FUNCTION find_person_session(requested_sha256 bytea)
    RETURNS TABLE (org_id int, person_id text, member_id text, role text, project_id text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT m.org_id, s.person_id, m.member_id, m.role, m.project_id
    FROM public.sessions s JOIN public.members m ON m.org_id = s.org_id AND m.member_id = s.member_id
        JOIN public.people p ON p.org_id = s.org_id AND p.person_id = s.person_id
    WHERE s.session_sha256 = requested_sha256 AND s.expires_at > now() AND m.removed_at IS NULL
          AND (m.group_name IS NOT NULL OR m.person_id = s.person_id)
$$;
GRANT CREATE ON SCHEMA public TO results_sessions; -- required to become the owner of the function
ALTER FUNCTION find_person_session(bytea) OWNER TO results_sessions;
REVOKE CREATE ON SCHEMA public FROM results_sessions;
REVOKE ALL ON FUNCTION find_person_session(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_person_session(bytea) TO results_api;
