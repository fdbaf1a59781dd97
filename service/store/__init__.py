"""All SQL and the database driver. Each noun has one module, whose statements are in sql/<noun>.sql."""
