-- Sessions of the console, and the function that finds them.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'results_sessions') THEN
        BEGIN
            CREATE ROLE results_sessions NOLOGIN NOBYPASSRLS; -- owns find_session; reads only api_keys and sessions
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    -- Since PostgreSQL 16, a user who isn't a superuser is a member of a role that it creates, but without SET.
    IF NOT pg_has_role(current_user, 'results_sessions',
                       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
        GRANT results_sessions TO CURRENT_USER;
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO results_sessions;

-- Sessions of the console: browsers that signed in with an API key. A session has the permissions of its key, and
-- ends when it expires, or when the key expires, is revoked, or gets another secret.
CREATE TABLE sessions (
    org_id         int NOT NULL REFERENCES organizations,
    session_sha256 bytea NOT NULL,           -- digest of the random ID in the cookie of the browser
    key_id         text NOT NULL,            -- key_…
    secret_sha256  bytea NOT NULL,           -- digest of the secret of the key at sign-in
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (org_id, session_sha256)
);
CREATE UNIQUE INDEX sessions_by_digest ON sessions (session_sha256); -- for find_session: a cookie contains only the ID
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON sessions TO results_api USING (org_id = current_org());
CREATE POLICY session_lookup ON api_keys TO results_sessions USING (true);
CREATE POLICY session_lookup ON sessions TO results_sessions USING (true);

GRANT SELECT, INSERT, DELETE ON sessions TO results_api;
GRANT SELECT, DELETE ON sessions TO results_worker; -- expired sessions, and the deletion of an organization
GRANT SELECT ON api_keys, sessions TO results_sessions;

-- Find a session that hasn't ended, before the organization is known. The function can read only api_keys and sessions.
CREATE FUNCTION find_session(requested_sha256 bytea)
    RETURNS TABLE (org_id int, key_id text, role text, project_id text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.org_id, k.key_id, k.role, k.project_id
    FROM public.sessions s JOIN public.api_keys k ON k.org_id = s.org_id AND k.key_id = s.key_id
    WHERE s.session_sha256 = requested_sha256 AND s.expires_at > now() AND k.secret_sha256 = s.secret_sha256
          AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
GRANT CREATE ON SCHEMA public TO results_sessions; -- required to become the owner of the function
ALTER FUNCTION find_session(bytea) OWNER TO results_sessions;
REVOKE CREATE ON SCHEMA public FROM results_sessions;
REVOKE ALL ON FUNCTION find_session(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_session(bytea) TO results_api;
