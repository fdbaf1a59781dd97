"""HTTP mechanics that all handlers share: parsing, authentication, responses, and errors."""
