-- The duration of a run is the time in which its parts were executed. Stored runs keep their durations.
ALTER TABLE runs ADD COLUMN part_spans jsonb;
