-- RabbitMQ users that can send events of an organization.
CREATE TABLE producers (
    org_id     int NOT NULL REFERENCES organizations,
    user_id    text NOT NULL,
    project_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT producers_unique UNIQUE NULLS NOT DISTINCT (org_id, user_id, project_id)
);
CREATE INDEX producers_by_user ON producers (user_id);
ALTER TABLE producers ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON producers TO results_api USING (org_id = current_org());
GRANT SELECT, INSERT, DELETE ON producers TO results_worker;
