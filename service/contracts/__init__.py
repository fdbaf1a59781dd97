"""Every shape that crosses the border of the process, in and out."""
