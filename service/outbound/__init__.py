"""HTTP requests to third-party servers."""
