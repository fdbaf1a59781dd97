"""Accept, parse, and store uploaded reports and artifacts."""
