"""The program of the HTTP API: its routes, OpenAPI document, and processes, and the handlers that have no subject."""
