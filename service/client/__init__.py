"""What users run against a server over HTTP."""
