"""Weekly digests of projects, and of the cases of an owner, as events for the webhooks that name them."""
