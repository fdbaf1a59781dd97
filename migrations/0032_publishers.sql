-- CI jobs whose ID tokens can be exchanged for keys. The policy is first, because it needs the strongest lock.
CREATE POLICY publisher_lookup ON organizations TO results_keys USING (true);
GRANT SELECT (org_id, slug) ON organizations TO results_keys;

CREATE TABLE publishers (
    org_id       int NOT NULL REFERENCES organizations,
    publisher_id text NOT NULL,
    name         text NOT NULL,
    provider     text NOT NULL CHECK (provider IN ('github', 'gitlab', 'buildkite', 'circleci', 'oidc')),
    issuer       text NOT NULL,
    claims       jsonb NOT NULL CHECK (jsonb_typeof(claims) = 'object' AND claims <> '{}'),
    project_id   text NOT NULL,
    role         text NOT NULL CHECK (role IN ('uploader', 'engineer')),
    enabled      bool NOT NULL DEFAULT true,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    deleted_at   timestamptz,
    PRIMARY KEY (org_id, publisher_id)
);
CREATE INDEX publishers_by_issuer ON publishers (issuer) WHERE deleted_at IS NULL;

CREATE TABLE token_exchanges (
    org_id       int NOT NULL REFERENCES organizations,
    exchange_id  bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT now(),
    publisher_id text,
    issuer       text NOT NULL,
    token_sha256 bytea NOT NULL,
    job          text NOT NULL,
    project_id   text,
    key_id       text,
    refusal      text,
    claims       jsonb NOT NULL,
    PRIMARY KEY (org_id, exchange_id)
);

ALTER TABLE publishers ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_exchanges ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON publishers TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON token_exchanges TO results_api USING (org_id = current_org());
CREATE POLICY publisher_lookup ON publishers TO results_keys USING (true);
GRANT SELECT, INSERT, UPDATE ON publishers TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON publishers TO results_worker;
GRANT SELECT ON publishers TO results_keys;
GRANT SELECT, INSERT ON token_exchanges TO results_api;
GRANT SELECT, DELETE ON token_exchanges TO results_worker;

CREATE FUNCTION find_publishers(requested_issuer text)
    RETURNS TABLE (org_id int, slug text, publisher_id text, provider text, claims jsonb, project_id text, role text, enabled bool)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT p.org_id, o.slug, p.publisher_id, p.provider, p.claims, p.project_id, p.role, p.enabled
    FROM public.publishers p JOIN public.organizations o ON o.org_id = p.org_id
    WHERE p.issuer = requested_issuer AND p.deleted_at IS NULL
$$;
GRANT CREATE ON SCHEMA public TO results_keys;
ALTER FUNCTION find_publishers(text) OWNER TO results_keys;
REVOKE CREATE ON SCHEMA public FROM results_keys;
REVOKE ALL ON FUNCTION find_publishers(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_publishers(text) TO results_api;
