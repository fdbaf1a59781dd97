"""All SQL and the database driver; one module per noun, its statements in sql/<noun>.sql."""
