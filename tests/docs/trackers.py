"""Small servers that behave like the issues of GitHub and Jira, as far as the receivers in the guides use them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Issue:
    title: str
    body: str
    labels: list[str]
    is_open: bool = True
    comments: list[str] = field(default_factory=list)


@dataclass
class Tracker:
    """The issues of a tracker. `fail` is the number of next changes that fail, and `hang_after` a change that hangs.

    A change that hangs has been made, but its response never arrives.
    """

    url: str = ""
    issues: list[Issue] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    fail: int = 0
    hang_after: str = ""
    has_hung: asyncio.Event = field(default_factory=asyncio.Event)

    async def change(self, name: str) -> None:
        """Record a change."""
        self.changes.append(name)
        if name == self.hang_after:
            self.has_hung.set()
            await asyncio.sleep(60)

    @web.middleware
    async def failing(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers["Authorization"] not in ("Bearer token", "Basic YWRhOnRva2Vu"):
            raise web.HTTPUnauthorized
        if request.method != "GET" and self.fail:
            self.fail -= 1
            raise web.HTTPServiceUnavailable
        response: web.StreamResponse = await handler(request)
        return response


@asynccontextmanager
async def serving_tracker(name: str) -> AsyncIterator[Tracker]:
    """Serve a tracker. `name` is the module of the guide that uses it."""
    tracker = Tracker()
    app = web.Application(middlewares=[tracker.failing])
    app.add_routes(_github(tracker) if name == "github_issues" else _jira(tracker))
    async with TestServer(app) as server:
        tracker.url = str(server.make_url("/")).rstrip("/")
        yield tracker


def _github(tracker: Tracker) -> list[web.RouteDef]:
    def shown(number: int) -> dict[str, Any]:
        issue = tracker.issues[number - 1]
        url = f"{tracker.url}/acme/shop/issues/{number}"
        state = "open" if issue.is_open else "closed"
        return {"number": number, "html_url": url, "state": state, "labels": [{"name": name} for name in issue.labels]}

    async def listed(request: web.Request) -> web.Response:
        assert request.query["state"] == "all"
        found = [number for number, issue in enumerate(tracker.issues, 1) if request.query["labels"] in issue.labels]
        return web.json_response([shown(number) for number in found[:1]])

    async def create(request: web.Request) -> web.Response:
        tracker.issues.append(Issue(**await request.json()))
        await tracker.change("create")
        return web.json_response(shown(len(tracker.issues)), status=201)

    def found(request: web.Request) -> Issue:
        return tracker.issues[int(request.match_info["number"]) - 1]

    async def comments(request: web.Request) -> web.Response:
        return web.json_response([{"body": body} for body in found(request).comments])

    async def comment(request: web.Request) -> web.Response:
        found(request).comments.append((await request.json())["body"])
        await tracker.change("comment")
        return web.json_response({}, status=201)

    async def change(request: web.Request) -> web.Response:
        found(request).is_open = (await request.json())["state"] == "open"
        await tracker.change("reopen" if found(request).is_open else "close")
        return web.json_response(shown(int(request.match_info["number"])))

    issues = "/repos/acme/shop/issues"
    return [
        web.get(issues, listed), web.post(issues, create), web.patch(issues + "/{number}", change),
        web.get(issues + "/{number}/comments", comments), web.post(issues + "/{number}/comments", comment),
    ]  # fmt: skip


def _jira(tracker: Tracker) -> list[web.RouteDef]:
    def text(document: Any) -> str:
        assert (document["type"], document["version"]) == ("doc", 1)
        return "\n".join(part["text"] for paragraph in document["content"] for part in paragraph["content"])

    async def search(request: web.Request) -> web.Response:
        found = [
            (n, issue) for n, issue in enumerate(tracker.issues, 1) if f'"{issue.labels[0]}"' in request.query["jql"]
        ]
        listed = [
            {
                "key": f"SHOP-{n}",
                "fields": {"status": {"statusCategory": {"key": "indeterminate" if issue.is_open else "done"}}},
            }
            for n, issue in found
        ]
        return web.json_response({"issues": listed[:1]})

    async def create(request: web.Request) -> web.Response:
        fields = (await request.json())["fields"]
        assert fields["project"] == {"key": "SHOP"}
        tracker.issues.append(Issue(fields["summary"], text(fields["description"]), fields["labels"]))
        await tracker.change("create")
        return web.json_response({"key": f"SHOP-{len(tracker.issues)}"}, status=201)

    def found(request: web.Request) -> Issue:
        return tracker.issues[int(request.match_info["key"].removeprefix("SHOP-")) - 1]

    async def comments(request: web.Request) -> web.Response:
        return web.json_response({"comments": [{"body": {"text": body}} for body in found(request).comments]})

    async def comment(request: web.Request) -> web.Response:
        found(request).comments.append(text((await request.json())["body"]))
        await tracker.change("comment")
        return web.json_response({}, status=201)

    async def transitions(_: web.Request) -> web.Response:
        listed = [
            {"id": key, "to": {"statusCategory": {"key": category}}}
            for key, category in (("11", "new"), ("21", "indeterminate"), ("31", "done"))
        ]
        return web.json_response({"transitions": listed})

    async def transition(request: web.Request) -> web.Response:
        found(request).is_open = (await request.json())["transition"]["id"] != "31"
        await tracker.change("reopen" if found(request).is_open else "close")
        return web.Response(status=204)

    issue = "/rest/api/3/issue"
    return [
        web.get("/rest/api/3/search/jql", search), web.post(issue, create),
        web.get(issue + "/{key}/comment", comments), web.post(issue + "/{key}/comment", comment),
        web.get(issue + "/{key}/transitions", transitions), web.post(issue + "/{key}/transitions", transition),
    ]  # fmt: skip
