"""The HTTP layer: routes, handlers, HTTP mechanics, and the processes that serve them."""
