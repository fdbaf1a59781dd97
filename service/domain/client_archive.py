"""The names of the client archive, which the client package builds and the API serves."""

from typing import Final

ARCHIVE_NAME: Final = "zof-results-client.pyz"
ARCHIVE_FOLDER: Final = "dist"  # in the checkout; in a wheel, in the client package
