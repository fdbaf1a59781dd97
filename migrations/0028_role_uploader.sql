-- For keys of CI jobs. The table is small, so the check of its rows takes milliseconds.
ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_role_check,
    ADD CONSTRAINT api_keys_role_check CHECK (role IN ('viewer', 'uploader', 'engineer', 'admin'));
