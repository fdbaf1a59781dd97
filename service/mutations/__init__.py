"""Mutations: transactions with an audit entry, once per Idempotency-Key."""
