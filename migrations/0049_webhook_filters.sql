-- Formats and filters of webhooks, and the properties of events with which the filters are compared.
ALTER TABLE webhooks
    ADD COLUMN format text NOT NULL DEFAULT 'standard' CHECK (format IN ('standard', 'slack', 'teams')),
    ADD COLUMN branch text,                  -- delivers only events of this branch; null: any
    ADD COLUMN owner  text,                  -- delivers only events of cases with this owner; null: any
    ADD COLUMN state  text;                  -- delivers only events of cases in this state; null: any
ALTER TABLE events
    ADD COLUMN branch text,                  -- of the event's subject; null: none
    ADD COLUMN owners text[],                -- of its cases; null: none
    ADD COLUMN state  text;                  -- of its case; null: none

-- Whether a webhook is subscribed to an event with these properties.
CREATE FUNCTION is_subscribed(
    hook webhooks, event_type text, event_project text, event_branch text, event_owners text[], event_state text
) RETURNS bool
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hook.events = '{}' OR event_type = ANY (hook.events))
       AND (hook.project_id IS NULL OR hook.project_id = event_project)
       AND (hook.branch IS NULL OR hook.branch = event_branch)
       AND (hook.owner IS NULL OR hook.owner = ANY (event_owners))
       AND (hook.state IS NULL OR hook.state = event_state);

-- For processes of earlier versions, which know neither formats nor filters.
CREATE OR REPLACE FUNCTION is_subscribed(hook webhooks, event_type text, event_project text) RETURNS bool
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hook.events = '{}' OR event_type = ANY (hook.events))
       AND (hook.project_id IS NULL OR hook.project_id = event_project)
       AND hook.format = 'standard' AND hook.branch IS NULL AND hook.owner IS NULL AND hook.state IS NULL;
