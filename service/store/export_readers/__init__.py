"""Read the rows of an export from one database snapshot."""
