"""The limits of uploaded artifacts."""

from typing import Final, NamedTuple

from service.domain.errors import RateLimitExceeded

DEFAULT_FILES_PER_DAY: Final = 50_000
DEFAULT_BYTES_PER_DAY: Final = 20 * 2**30
DEFAULT_UNTRUSTED_FILES_PER_DAY: Final = 1_000
DEFAULT_UNTRUSTED_BYTES_PER_DAY: Final = 2**30


class ArtifactUsage(NamedTuple):
    """The files that a key has uploaded today, in UTC, and the time until the next day."""

    files: int
    bytes: int
    seconds_left: int


class ArtifactLimits(NamedTuple):
    """The limits of the files that a key, or all jobs of a trusted publisher, upload per day, in UTC.

    `settings` is the prefix of the settings with the limits, and `subject` states for an error what they limit.
    """

    files_per_day: int = DEFAULT_FILES_PER_DAY
    bytes_per_day: int = DEFAULT_BYTES_PER_DAY
    settings: str = "RESULTS_ARTIFACT"
    subject: str = "the artifacts of a key or trusted publisher"

    def check(self, usage: ArtifactUsage) -> None:
        """Raise RateLimitExceeded if the files, including the files of the request, exceed a limit."""
        if usage.files > self.files_per_day:
            raise self._exceeded("FILES_PER_DAY", f"{self.files_per_day} files", usage)
        if usage.bytes > self.bytes_per_day:
            raise self._exceeded("BYTES_PER_DAY", f"{self.bytes_per_day} bytes", usage)

    def _exceeded(self, setting: str, limit: str, usage: ArtifactUsage) -> RateLimitExceeded:
        hours = -(-usage.seconds_left // 3600)
        return RateLimitExceeded(
            f"{self.settings}_{setting}: {self.subject} can have at most {limit} per day, and this upload exceeds the"
            f" limit. Upload it after 00:00 UTC, in {hours} h, upload fewer files, or ask the operator to increase the"
            " setting",
            usage.seconds_left,
        )
