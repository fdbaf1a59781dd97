-- A recorded policy of a request has no gate. Equal digests of such decisions conflict like those of one gate.
ALTER TABLE decisions
    ALTER COLUMN gate DROP NOT NULL,
    ALTER COLUMN gate_version DROP NOT NULL,
    DROP CONSTRAINT decisions_digest_unique,
    ADD CONSTRAINT decisions_digest_unique UNIQUE NULLS NOT DISTINCT (org_id, gate, digest),
    ADD CONSTRAINT decisions_gate_version CHECK ((gate IS NULL) = (gate_version IS NULL)),
    ADD CONSTRAINT decisions_waiver_of_gate CHECK (gate IS NOT NULL OR waiver IS NULL);
