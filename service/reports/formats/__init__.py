"""The readers of the report formats, one module or package per format."""
