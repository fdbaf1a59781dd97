"""Identity: who can call the service, and with which permissions."""
