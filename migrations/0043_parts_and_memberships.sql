-- The duration of a run is the time in which its parts were executed. Stored runs keep their durations.
ALTER TABLE runs ADD COLUMN part_spans jsonb;
-- The console offers another membership only to people who have several.
ALTER TABLE sessions ADD COLUMN has_choices bool;
