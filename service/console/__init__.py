"""The web console: pages for browsers, with the same functions and permissions as the API."""
