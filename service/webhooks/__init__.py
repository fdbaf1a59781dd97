"""Webhooks: subscriptions, deliveries, and recoveries."""
