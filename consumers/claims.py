"""Requests to claim due deliveries: the organizations that are next, and those with a claim in progress."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from service.domain.ids import OrgId

ClaimScope = OrgId | Literal["all"]  # the organizations whose deliveries a claim returns
ALL: Final = "all"


class ClaimRequests:
    """The requested claims, in the order of the requests. Claims of one scope run one after another.

    Claims of several organizations can run concurrently, because the claim of one with many endpoints takes long. If
    more than `max_requests` wait, one claim of all organizations replaces them, because it costs less.
    """

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._requested: dict[ClaimScope, None] = {}
        self._in_progress: set[ClaimScope] = set()
        self.added = asyncio.Event()

    def add(self, scope: ClaimScope) -> None:
        """Request a claim. A claim that is in progress might not return the deliveries, so another one follows."""
        self._requested[scope] = None
        self.added.set()

    def add_notified(self, org_ids: set[OrgId]) -> None:
        """Request the claims of these organizations, or one of all organizations if the set is empty."""
        for org_id in org_ids:
            self.add(org_id)
        if not org_ids:
            self.add(ALL)

    @contextmanager
    def next(self) -> Iterator[ClaimScope | None]:
        """Yield the scope of the next claim, which is in progress during the block; None if no claim can start."""
        self.added.clear()
        if len(self._requested) > self._max_requests:
            self._requested = {ALL: None}
        scope = next((scope for scope in self._requested if scope not in self._in_progress), None)
        if scope is None:
            yield None
            return
        del self._requested[scope]
        self._in_progress.add(scope)
        try:
            yield scope
        finally:
            self._in_progress.discard(scope)
