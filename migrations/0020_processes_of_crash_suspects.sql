-- The processes that attempted to handle a crash suspect: only an attempt whose process has ended counts.

ALTER TABLE crash_suspects ADD COLUMN attempted_by text[] NOT NULL DEFAULT '{}';
