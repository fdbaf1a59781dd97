"""A server that exchanges ID tokens for keys, and records what it received."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Answer = Callable[[Mapping[str, str]], web.Response | None]


def id_token(**claims: Any) -> str:
    """Return an ID token with these claims and without a valid signature."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"header.{payload}.signature"


def refuse(error: str, description: str, status: int = 400, **fields: Any) -> web.Response:
    """Return the error of an exchange (RFC 6749)."""
    return web.json_response({"error": error, "error_description": description, **fields}, status=status)


@dataclass
class TokenServer:
    """The received forms, keys, and requests of ID tokens. `answer` replaces the response to the next exchanges."""

    url: str = ""
    project: str = "shop"
    lifetime_s: float = 900
    forms: list[dict[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    audiences: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    answer: Answer | None = None

    async def exchange(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        assert "Authorization" not in request.headers
        self.forms.append(form)
        if self.answer and (response := self.answer(form)):
            return response
        project = form.get("scope", f"project:{self.project}")
        key = f"zof_{len(self.forms)}_{project.partition(':')[2]}"
        return web.json_response(
            {"access_token": key, "token_type": "Bearer", "expires_in": self.lifetime_s, "scope": project}
        )

    async def list_runs(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Authorization"].removeprefix("Bearer "))
        if self.keys[-1] in self.ended:
            error = {"code": "unauthorized", "message": "Authorization: the API key is invalid"}
            return web.json_response({"error": error}, status=401)
        return web.json_response({"data": [], "has_more": False})

    async def give_id_token(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer request-token"
        self.audiences.append(request.query["audience"])
        return web.json_response({"value": f"token-{len(self.audiences)}", "count": 1})


@asynccontextmanager
async def serving_tokens() -> AsyncIterator[TokenServer]:
    """Serve the exchange of ID tokens."""
    tokens = TokenServer()
    app = web.Application()
    app.router.add_post("/v1/token", tokens.exchange)
    app.router.add_get("/v1/runs", tokens.list_runs)
    app.router.add_get("/id-token", tokens.give_id_token)
    async with TestServer(app) as server:
        tokens.url = str(server.make_url("")).rstrip("/")
        yield tokens
