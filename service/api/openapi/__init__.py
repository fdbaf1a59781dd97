"""The OpenAPI 3.1 document, generated from the route table and the contracts. docs/openapi.json is its copy."""
