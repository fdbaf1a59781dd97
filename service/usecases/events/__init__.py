"""Numbering of committed events, and subscriptions to the event stream."""
