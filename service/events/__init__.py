"""Events: published facts, their order, and subscriptions."""
