"""The growth benchmark: time and size of the service as its data, its processes, and its webhooks grow."""
