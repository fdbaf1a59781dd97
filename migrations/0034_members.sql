-- Members of an organization, and the people who signed in to the console. The policy is first, because it needs the
-- strongest lock.
CREATE POLICY membership_lookup ON organizations TO results_sessions USING (true);
GRANT SELECT (org_id, slug) ON organizations TO results_sessions;

-- Members: who can sign in to the console, by the verified email of one person or by a group of the identity provider.
CREATE TABLE members (
    org_id       int NOT NULL REFERENCES organizations,
    member_id    text NOT NULL,              -- mem_ + 32 hex digits
    email        text,                       -- in lower case; null for a group, and after the erasure of a removed member
    group_name   text,
    role         text NOT NULL CHECK (role IN ('viewer', 'uploader', 'engineer', 'admin')),
    project_id   text,                       -- the only project that the member can access, or null
    person_id    text,                       -- per_…: the first person who signed in with the email; null for a group
    created_by   text NOT NULL,              -- key_…, per_…, or "command line"
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz,                -- updated at most once per minute
    removed_at   timestamptz,                -- the row stays, because the audit trail names the member
    PRIMARY KEY (org_id, member_id),
    CONSTRAINT members_matcher_check CHECK (num_nonnulls(email, group_name) = 1 OR removed_at IS NOT NULL)
);
CREATE UNIQUE INDEX members_unique_email ON members (org_id, email, project_id) NULLS NOT DISTINCT
    WHERE email IS NOT NULL AND removed_at IS NULL;
CREATE UNIQUE INDEX members_unique_group ON members (org_id, group_name, project_id) NULLS NOT DISTINCT
    WHERE group_name IS NOT NULL AND removed_at IS NULL;
-- For find_memberships: a person who signs in doesn't state an organization.
CREATE INDEX members_by_email ON members (email) WHERE removed_at IS NULL;
CREATE INDEX members_by_group ON members (group_name) WHERE removed_at IS NULL;
CREATE INDEX members_by_person ON members (person_id) WHERE removed_at IS NULL;

-- People who signed in, one row per organization. The subject identifies a person of an issuer; emails and names change.
CREATE TABLE people (
    org_id       int NOT NULL REFERENCES organizations,
    person_id    text NOT NULL,              -- per_ + 32 hex digits
    issuer       text NOT NULL,
    subject      text NOT NULL,
    email        text,                       -- verified, in lower case, at the last sign-in
    name         text,                       -- at the last sign-in
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(), -- updated at most once per minute
    PRIMARY KEY (org_id, person_id),
    CONSTRAINT people_unique UNIQUE (org_id, issuer, subject)
);
CREATE INDEX people_by_subject ON people (subject, issuer); -- for find_memberships

ALTER TABLE members ENABLE ROW LEVEL SECURITY;
ALTER TABLE people ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON members TO results_api USING (org_id = current_org());
CREATE POLICY same_organization ON people TO results_api USING (org_id = current_org());
CREATE POLICY membership_lookup ON members TO results_sessions USING (true);
CREATE POLICY membership_lookup ON people TO results_sessions USING (true);

GRANT SELECT, INSERT, UPDATE (role, project_id, person_id, last_seen_at, removed_at) ON members TO results_api;
GRANT SELECT, INSERT, UPDATE (email, name, last_seen_at) ON people TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON members TO results_worker;
GRANT SELECT, DELETE ON people TO results_worker; -- erasure, and the deletion of an organization
GRANT SELECT ON members, people TO results_sessions;

-- Find the memberships of a person who signs in, before the organization is known. A member of an email matches the person
-- of its first sign-in, and before that any person with this verified email.
CREATE FUNCTION find_memberships(requested_issuer text, requested_subject text, verified_email text, stated_groups text[])
    RETURNS TABLE (org_id int, slug text, member_id text, role text, project_id text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT m.org_id, o.slug, m.member_id, m.role, m.project_id
    FROM (
        SELECT member.* FROM public.people p
            JOIN public.members member ON member.org_id = p.org_id AND member.person_id = p.person_id
        WHERE p.issuer = requested_issuer AND p.subject = requested_subject
        UNION ALL
        SELECT member.* FROM public.members member WHERE member.email = verified_email AND member.person_id IS NULL
        UNION ALL
        SELECT member.* FROM public.members member WHERE member.group_name = ANY (stated_groups)
    ) m JOIN public.organizations o ON o.org_id = m.org_id
    WHERE m.removed_at IS NULL
$$;
GRANT CREATE ON SCHEMA public TO results_sessions; -- required to become the owner of the function
ALTER FUNCTION find_memberships(text, text, text, text[]) OWNER TO results_sessions;
REVOKE CREATE ON SCHEMA public FROM results_sessions;
REVOKE ALL ON FUNCTION find_memberships(text, text, text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_memberships(text, text, text, text[]) TO results_api;
