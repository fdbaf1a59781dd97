"""Reports of test tools: acceptance, formats, parsing, and storage."""
