"""Object storage: one interface for a local folder and S3. It doesn't interpret the bytes."""

from service.storage.files import FileWriter, ListedFile, Storage
from service.storage.paths import Area, belongs_to, organization_prefixes, resolve_reference, stored_path

__all__ = [
    "Area", "FileWriter", "ListedFile", "Storage", "belongs_to", "organization_prefixes", "resolve_reference",
    "stored_path",
]  # fmt: skip
