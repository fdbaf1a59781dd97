"""The access key of an S3 bucket."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BucketKey:
    """An access key: its ID and its secret, which isn't part of the text form."""

    key_id: str
    secret: str = field(repr=False)
