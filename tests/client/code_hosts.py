"""Servers that implement the APIs of GitHub and GitLab that the comment command uses, as their documentation states.

GitHub: https://docs.github.com/en/rest/issues/comments. Comments are listed in the order of their IDs, at most 100 per
page, with a `Link` header. Texts have at most 65,536 characters. A deleted or unknown comment is a 404.
GitLab: https://docs.gitlab.com/api/notes. Notes are listed with the newest first, also those of the system.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

BOT = "github-actions[bot]"
BOT_ID = 7
_MAX_TEXT = 65_536
_MAX_PAGE = 100


@dataclass
class CodeHostServer:
    """The comments of one pull request.

    `denied` is the status of rejected writes, and `limited` are the responses to the next ones. With `creations`, that
    many requests to create a comment must arrive before any of them is processed, and with `reads`, that many jobs must
    have read the comments before any of them writes for the first time. With `deletes_first`, another job deletes each
    comment just before the request to delete it. Other jobs, which have read the comments earlier, replace the text of
    an updated comment by each of `overwrites`. `update_delays_s` are the durations of the next updates.
    """

    comments: list[dict[str, Any]] = field(default_factory=list)
    denied: int | None = None
    limited: list[web.Response] = field(default_factory=list)
    creations: asyncio.Barrier | None = None
    reads: asyncio.Barrier | None = None
    overwrites: list[str] = field(default_factory=list)
    update_delays_s: list[float] = field(default_factory=list)
    updates: int = 0
    deletes_first: bool = False
    url: str = ""
    last_id: int = 1000

    def add(self, text: str, author: str = BOT) -> None:
        """Add a comment of this author."""
        user = {"login": author, "id": BOT_ID if author == BOT else 8}
        self.last_id += 1
        self.comments.append({"id": self.last_id, "body": text, "user": user, "author": user, "system": False})

    @property
    def texts(self) -> list[str]:
        """The texts of all comments, in the order of their IDs."""
        return [comment["body"] for comment in self.comments]

    @property
    def bodies(self) -> list[str]:
        """The texts without the markers of sections."""
        return [re.sub(r"<!-- zof-results-section: .+ -->\n", "", text) for text in self.texts]

    async def viewer(self, _: web.Request) -> web.Response:
        """Respond to the GraphQL request of GitHub for the user of the token."""
        return web.json_response({"data": {"viewer": {"login": BOT}}})

    async def user(self, _: web.Request) -> web.Response:
        """Respond to the request of GitLab for the user of the token."""
        return web.json_response({"id": BOT_ID})

    async def list_github(self, request: web.Request) -> web.Response:
        """Return one page of comments, the oldest first."""
        return await self._page(request, self.comments)

    async def list_gitlab(self, request: web.Request) -> web.Response:
        """Return one page of notes, the newest first."""
        return await self._page(request, self.comments[::-1])

    async def create(self, request: web.Request) -> web.Response:
        """Create a comment."""
        text = (await request.json())["body"]
        if self.creations:
            await self.creations.wait()
        if rejection := self._reject(text):
            return rejection
        self.add(text)
        return web.json_response(self.comments[-1], status=201)

    async def update(self, request: web.Request) -> web.Response:
        """Replace the text of a comment."""
        text = (await request.json())["body"]
        await asyncio.sleep(self.update_delays_s.pop(0) if self.update_delays_s else 0)
        comment = self._find(request)
        if comment is None:
            return web.json_response({"message": "Not Found"}, status=404)
        if rejection := self._reject(text):
            return rejection
        comment["body"] = self.overwrites.pop(0) if self.overwrites else text
        self.updates += 1
        return web.json_response(comment)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a comment."""
        comment = self._find(request)
        if comment is None:
            return web.json_response({"message": "Not Found"}, status=404)
        self.comments.remove(comment)
        return web.Response(status=404 if self.deletes_first else 204)

    def _find(self, request: web.Request) -> dict[str, Any] | None:
        return next((item for item in self.comments if str(item["id"]) == request.match_info["id"]), None)

    def _reject(self, text: str) -> web.Response | None:
        if self.limited:
            return self.limited.pop(0)
        if self.denied:
            return web.json_response({"message": "Resource not accessible by integration"}, status=self.denied)
        if len(text) > _MAX_TEXT or not text.strip():
            return web.json_response({"message": "Validation Failed"}, status=422)
        return None

    async def _page(self, request: web.Request, comments: list[dict[str, Any]]) -> web.Response:
        size = min(int(request.query.get("per_page", 30)), _MAX_PAGE)
        page = int(request.query.get("page", 1))
        following = f'<{request.url.update_query(page=page + 1)}>; rel="next"'
        headers = {"Link": following} if page * size < len(comments) else {}
        response = web.json_response(comments[(page - 1) * size : page * size], headers=headers)
        if self.reads:
            await self.reads.wait()
            self.reads = None
        return response


@asynccontextmanager
async def serving_code_host(
    repository: str = "o/r", pull_request: str = "12", project: str = "3", merge_request: str = "12"
) -> AsyncIterator[CodeHostServer]:
    """Serve both APIs for one pull request and one merge request."""
    host = CodeHostServer()
    app = web.Application()
    github, gitlab = f"/repos/{repository}/issues", f"/projects/{project}/merge_requests/{merge_request}/notes"
    app.router.add_post("/graphql", host.viewer)
    app.router.add_get("/user", host.user)
    app.router.add_get(f"{github}/{pull_request}/comments", host.list_github)
    app.router.add_get(gitlab, host.list_gitlab)
    for path in (f"{github}/{pull_request}/comments", gitlab):
        app.router.add_post(path, host.create)
    app.router.add_patch(f"{github}/comments/{{id}}", host.update)
    app.router.add_put(f"{gitlab}/{{id}}", host.update)
    for path in (f"{github}/comments/{{id}}", f"{gitlab}/{{id}}"):
        app.router.add_delete(path, host.delete)
    async with TestServer(app) as server:
        host.url = str(server.make_url("")).rstrip("/")
        yield host
