"""Manage organizations and keys, and run mutations with idempotency and an audit trail."""
