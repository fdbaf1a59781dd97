-- Tickets of failure groups.

-- Tickets of failure groups. A ticket outlives the failures of its group, and applies to later ones.
CREATE TABLE failure_tickets (
    org_id      int NOT NULL REFERENCES organizations,
    fingerprint bigint NOT NULL,             -- of the group, which contains the project
    ticket_url  text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, fingerprint)
);

ALTER TABLE failure_tickets ENABLE ROW LEVEL SECURITY;

CREATE POLICY same_organization ON failure_tickets TO results_api USING (org_id = current_org());

GRANT SELECT, INSERT, UPDATE, DELETE ON failure_tickets TO results_api;
GRANT SELECT, DELETE ON failure_tickets TO results_worker; -- the deletion of an organization
