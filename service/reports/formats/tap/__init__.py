"""TAP 12 to 14, and the output of `prove -v`."""
