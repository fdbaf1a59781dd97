"""Trusted publishers: CI jobs that exchange an ID token for a key of 15 minutes."""

from typing import NamedTuple


class JobClaims(NamedTuple):
    """What the ID token of a CI job states. None if the token doesn't state the value.

    `job` identifies the job for people, as a URL if the token contains one. The other values are those of an upload.
    """

    publisher_id: str  # pub_…
    job: str
    branch: str | None = None
    commit_sha: str | None = None
    pull_request: str | None = None
    pipeline: str | None = None  # as the client states it, such as github-812
