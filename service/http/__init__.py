"""The HTTP mechanics of the API: requests, responses, authentication, and limits."""
