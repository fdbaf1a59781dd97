"""Organizations, the tenants of the service."""
