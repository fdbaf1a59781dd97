-- Notices: the events for webhooks with a format of messages, until a plan puts each one into a message or a summary.
CREATE TABLE notices (
    org_id     int NOT NULL,
    webhook_id text NOT NULL,
    event_id   text NOT NULL,
    subject    text,                         -- ID of the case or failure group: at most one message per day; null: other events
    due_at     timestamptz DEFAULT now(),    -- time of the next plan: now, or of the summary if held; null: in a message
    decided_at timestamptz,                  -- null: waits for the first plan
    message_id text,                         -- event of the message or summary that contains the notice; null: none yet
    PRIMARY KEY (org_id, event_id, webhook_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
);
CREATE INDEX notices_due ON notices (org_id, webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_sent ON notices (org_id, webhook_id, decided_at) WHERE message_id = event_id;

ALTER TABLE notices ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_organization ON notices TO results_api USING (org_id = current_org());
GRANT INSERT ON notices TO results_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON notices TO results_worker;
