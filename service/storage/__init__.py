"""Keeps bytes: one interface over a local folder and S3. What the bytes mean is not known here."""

from service.storage.files import Storage, Writing
from service.storage.paths import Area, belongs_to, referred_path, stored_path

__all__ = ["Area", "Storage", "Writing", "belongs_to", "referred_path", "stored_path"]
