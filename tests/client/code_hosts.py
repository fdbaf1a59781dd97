"""Servers that implement the APIs of GitHub and GitLab that the comment command uses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

BOT = "github-actions[bot]"
BOT_ID = 7


@dataclass
class CodeHostServer:
    """The comments of one pull request.

    `denied` is the status of rejected writes, and `limited` are the responses to the next ones.
    """

    comments: list[dict[str, Any]] = field(default_factory=list)
    denied: int | None = None
    limited: list[web.Response] = field(default_factory=list)
    url: str = ""

    def add(self, text: str, author: str = BOT) -> None:
        """Add a comment of this author."""
        user = {"login": author, "id": BOT_ID if author == BOT else 8}
        self.comments.append({"id": len(self.comments) + 1, "body": text, "user": user, "author": user})

    @property
    def texts(self) -> list[str]:
        """The texts of all comments."""
        return [comment["body"] for comment in self.comments]

    async def viewer(self, _: web.Request) -> web.Response:
        """Respond to the GraphQL request of GitHub for the user of the token."""
        return web.json_response({"data": {"viewer": {"login": BOT}}})

    async def user(self, _: web.Request) -> web.Response:
        """Respond to the request of GitLab for the user of the token."""
        return web.json_response({"id": BOT_ID})

    async def list(self, request: web.Request) -> web.Response:
        """Return one page of comments."""
        size = int(request.query["per_page"])
        start = (int(request.query["page"]) - 1) * size
        return web.json_response(self.comments[start : start + size])

    async def create(self, request: web.Request) -> web.Response:
        """Create a comment."""
        if self.limited:
            return self.limited.pop(0)
        if self.denied:
            return web.json_response({"message": "Resource not accessible by integration"}, status=self.denied)
        self.add((await request.json())["body"])
        return web.json_response(self.comments[-1], status=201)

    async def update(self, request: web.Request) -> web.Response:
        """Replace the text of a comment."""
        self.comments[int(request.match_info["id"]) - 1]["body"] = (await request.json())["body"]
        return web.json_response({})


@asynccontextmanager
async def serving_code_host() -> AsyncIterator[CodeHostServer]:
    """Serve both APIs for pull request 12 of o/r and merge request 12 of project 3."""
    host = CodeHostServer()
    app = web.Application()
    github, gitlab = "/repos/o/r/issues", "/projects/3/merge_requests/12/notes"
    app.router.add_post("/graphql", host.viewer)
    app.router.add_get("/user", host.user)
    for path in (f"{github}/12/comments", gitlab):
        app.router.add_get(path, host.list)
        app.router.add_post(path, host.create)
    app.router.add_patch(f"{github}/comments/{{id}}", host.update)
    app.router.add_put(f"{gitlab}/{{id}}", host.update)
    async with TestServer(app) as server:
        host.url = str(server.make_url("")).rstrip("/")
        yield host
