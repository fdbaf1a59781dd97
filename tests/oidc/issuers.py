"""An issuer of ID tokens on loopback, which signs any claims and misbehaves as a test requests."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

CONFIGURATION: Final = "/.well-known/openid-configuration"
KEYS: Final = "/keys"
LIFETIME_S: Final = 300
_CURVES: Final = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@dataclass(frozen=True)
class SigningKey:
    """A private key with an ID. `jwk` is its public part."""

    key_id: str
    algorithm: str
    private_key: Any

    @property
    def jwk(self) -> dict[str, Any]:
        document = get_default_algorithms()[self.algorithm].to_jwk(self.private_key.public_key(), as_dict=True)
        document = {name: value for name, value in document.items() if name != "key_ops"}
        return {**document, "kid": self.key_id, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        headers = {"kid": self.key_id, **(header or {})}
        present = {name: value for name, value in headers.items() if value is not None}
        return jwt.encode(dict(claims), self.private_key, self.algorithm, present)


def new_signing_key(algorithm: str = "ES256", key_id: str | None = None) -> SigningKey:
    """Return a new key; RSA keys share the private key of the process, because a new one takes 0.1 s."""
    private_key: Any
    if algorithm in _CURVES:
        private_key = ec.generate_private_key(_CURVES[algorithm])
    elif algorithm == "EdDSA":
        private_key = ed25519.Ed25519PrivateKey.generate()
    else:
        private_key = _rsa_key()
    return SigningKey(key_id or uuid4().hex, algorithm, private_key)


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


@dataclass
class Reply:
    """The response to a path instead of the usual one."""

    body: bytes | Mapping[str, Any] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0


class SigningIssuer:
    """An issuer on loopback over HTTP, in a thread, so tests with and without an event loop can use it.

    with SigningIssuer() as issuer:
        token = issuer.sign({"aud": "https://results.example.com", "repository_id": "1"})
    """

    def __init__(self, algorithm: str = "ES256") -> None:
        self.key = new_signing_key(algorithm)
        self.published = [self.key.jwk]  # the keys of the set
        self.replies: dict[str, Reply] = {}  # by path
        self.requests: Counter[str] = Counter()  # by path
        self.user_agents: set[str] = set()
        self.authorizations: list[str | None] = []  # of all requests
        self.bodies: list[bytes] = []  # of POST requests
        self._server = self._bind(0)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Respond to requests, also after a stop, with the same URL."""
        if self._server.socket.fileno() < 0:
            self._server = self._bind(int(self.url.rpartition(":")[2]))
        self._thread: threading.Thread | None = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections until the next start."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def sign(self, claims: Mapping[str, Any], key: SigningKey | None = None, **header: Any) -> str:
        """Return a token with these claims. The claims of the issuer and of the time are added; None omits a claim."""
        now = int(time.time())
        added = {"iss": self.url, "iat": now, "nbf": now, "exp": now + LIFETIME_S, "jti": uuid4().hex}
        signed = {name: value for name, value in {**added, **claims}.items() if value is not None}
        return (key or self.key).sign(signed, header)

    def rotate(self) -> SigningKey:
        """Sign with a new key from now on, and publish only this key."""
        self.key = new_signing_key(self.key.algorithm)
        self.published = [self.key.jwk]
        return self.key

    def find_reply(self, path: str) -> Reply:
        """Return the response to a path."""
        documents: dict[str, Mapping[str, Any]] = {
            CONFIGURATION: {"issuer": self.url, "jwks_uri": f"{self.url}{KEYS}"}, KEYS: {"keys": self.published},
        }  # fmt: skip
        if path in self.replies:
            return self.replies[path]
        return Reply(documents[path]) if path in documents else Reply({"error": "not_found"}, 404)

    def _bind(self, port: int) -> ThreadingHTTPServer:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests[self.path] += 1
                issuer.user_agents.add(self.headers.get("User-Agent", ""))
                issuer.authorizations.append(self.headers.get("Authorization"))
                reply = issuer.find_reply(self.path)
                time.sleep(reply.delay_s)
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def do_POST(self) -> None:
                issuer.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Write no log."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads, server.block_on_close = True, False
        return server
