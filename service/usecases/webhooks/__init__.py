"""Manage webhooks and deliver events to them."""
