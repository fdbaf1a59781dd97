"""API keys: creation, authentication, and roles."""
