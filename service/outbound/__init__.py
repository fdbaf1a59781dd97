"""HTTP to other people's servers."""
