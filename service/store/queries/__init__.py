"""Read queries of the API, one module per noun."""
