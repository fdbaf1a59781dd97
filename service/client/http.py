"""Requests to a Results API server, with retries while the server is unavailable."""

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote
from uuid import uuid4

import certifi
import httpx

from service.client.arguments import find_option
from service.command_line import print_line
from service.domain.backoff import Backoff, parse_retry_after
from service.domain.errors import ServiceError, name_fields
from service.failures.model import to_line
from service.version import user_agent

JsonObject = dict[str, Any]
QueryParams = Mapping[str, str] | Sequence[tuple[str, str]]
_T = TypeVar("_T")

SILENCE_S: Final = 10.0  # without any response

_POLL_S: Final = 0.05
_MAX_DELAY_S: Final = 10.0
_SILENT_RETRIES: Final = 2  # before a message about further retries
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
# In messages of servers of all versions: a path or the name of a value that this client sends is unknown.
_UNKNOWN: Final = re.compile(r"no resource exists at this path|(query parameter|field) '[^']*' is not supported")


class ClientError(ServiceError):
    """A command can't continue."""


class ServerError(ClientError):
    """The server rejected a request or doesn't respond.

    The response states `status`, `code`, and `param`, the wrong value. They are None without a response.
    `retry_after_s` is the wait that the server requests.
    """

    def __init__(
        self, message: str, status: int | None = None, code: str | None = None, retry_after_s: float = 0,
        param: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.param = param


class TemporaryFailure(ServerError):
    """The server is unavailable or limits the rate of requests. The request can be repeated."""


class IncompleteResponse(ServerError):
    """The connection broke before the end of a response."""


class ConsoleLinks(NamedTuple):
    """The links of a server. IDs of a producer can contain any printable character, so they are escaped."""

    url: str  # of the server

    def run(self, run_id: str) -> str:
        """Return the URL of the page of a run."""
        return f"{self.url}/console/runs/{quote(run_id, safe='')}"

    def result(self, result_id: str) -> str:
        """Return the URL of the page of a result."""
        return f"{self.url}/console/results/{quote(result_id, safe='')}"

    def decision(self, decision_id: str) -> str:
        """Return the URL of a stored decision in the API. The page of its run shows it, too."""
        return f"{self.url}/v1/decisions/{quote(decision_id, safe='')}"


class Server:
    """A server, accessed with one API key. Paths begin with a slash and are relative to /v1.

    `project` is the project of the key, if the key was requested for one.
    """

    def __init__(self, client: httpx.Client, url: str, retry_s: float, project: str | None = None) -> None:
        self.url = base_url(url)
        self.project = project
        self.links = ConsoleLinks(self.url)
        self.readiness_url = f"{self.url}/readyz"
        self._client = client
        self._retry_s = retry_s

    def get(self, path: str, params: QueryParams = ()) -> Any:
        """Return the JSON of a response. Raises ServerError."""
        with self.open("GET", path, params=params) as response:
            return read_json(response)

    def find(self, path: str, params: QueryParams = ()) -> JsonObject | None:
        """Return an object, or None if it doesn't exist. Raises ServerError."""
        try:
            found: JsonObject = self.get(path, params)
        except ServerError as error:
            if error.code != "not_found":
                raise
            return None
        return found

    def post(self, path: str, document: Any = None, method: str = "POST") -> Any:
        """Send a JSON document and return the JSON of the response. Raises ServerError.

        The request can arrive twice, so the operation must be idempotent.
        """
        with self.open(method, path, json=document) as response:
            return read_json(response)

    def send(self, method: str, path: str, document: Any = None, params: QueryParams = ()) -> Any:
        """Send a request that changes something. Return the JSON of the response, or None without a body.

        The Idempotency-Key lets a retry return the first response. Raises ServerError.
        """
        headers = {"Idempotency-Key": uuid4().hex}
        with self.open(method, path, json=document, params=params, headers=headers) as response:
            return None if response.status_code == httpx.codes.NO_CONTENT else read_json(response)

    @contextmanager
    def open(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """Send a request and yield the successful response, whose body the caller reads. Raises ServerError.

        The request is retried with backoff if the server is unavailable, and not before the time that the server
        requests in Retry-After. It can therefore arrive twice: a request that changes something must be idempotent or
        needs an Idempotency-Key.
        """
        response = self._send(method, path, **request)
        try:
            yield response
        except httpx.HTTPError as error:
            raise IncompleteResponse(f"{self.url}: incomplete response: {describe_http_error(error)}") from error
        finally:
            response.close()

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        def attempt() -> httpx.Response:
            try:
                sent = self._client.build_request(method, f"{self.url}/v1{path}", **request)
                response = self._client.send(sent, stream=True)
                if response.is_success:
                    return response
                failure = self._read_failure(response)
            except httpx.HTTPError as error:
                raise TemporaryFailure(
                    f"{self.url} doesn't respond ({describe_http_error(error)}): check RESULTS_URL or --url, and that"
                    " the server is running"
                ) from error
            raise failure

        return send_with_retries(attempt, self._retry_s)

    def _read_failure(self, response: httpx.Response) -> ServerError:
        code = param = None
        try:
            response.read()
            error = response.json()["error"]
            message, code, param = _message(error, response.status_code), str(error["code"]), error.get("param")
            if code == "unauthorized":
                message += ": check RESULTS_API_KEY or --key"
            elif _UNKNOWN.search(message):
                message += ". Is the server older than this client?"
        except (ValueError, KeyError, TypeError):
            described = f"{response.status_code} {response.reason_phrase}"
            message = f"{self.url} responds with {described}, which isn't a Results API response. Is the URL right?"
        finally:
            response.close()
        failure = TemporaryFailure if response.status_code in _RETRYABLE else ServerError
        return failure(message, response.status_code, code, requested_wait_s(response) or 0, param)


def base_url(url: str) -> str:
    """Return the URL of a server without a trailing slash and without /v1. It is also the audience of ID tokens."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def send_with_retries(attempt: Callable[[], _T], retry_s: float) -> _T:
    """Return the result of an attempt. Raises the failure of the last attempt.

    An attempt that raises TemporaryFailure is repeated for up to `retry_s` seconds, with backoff and not before the
    time that the server requests.
    """
    deadline = time.monotonic() + retry_s
    for number, delay_s in enumerate(Backoff(0.2, _MAX_DELAY_S)):
        try:
            return attempt()
        except TemporaryFailure as failure:
            wait_s = max(delay_s, failure.retry_after_s)
            if time.monotonic() + wait_s > deadline:
                raise
            _announce_retry(failure, number, retry_s)
        time.sleep(wait_s)
    raise AssertionError("the delays never end")


def _announce_retry(failure: TemporaryFailure, number: int, retry_s: float) -> None:
    """Print the reason of the first waits that the server requests, or of the first long wait."""
    if number <= _SILENT_RETRIES and failure.retry_after_s:
        print_line(f"{failure}; retrying after {failure.retry_after_s:.0f} s, as the server requests", err=True)
    elif number == _SILENT_RETRIES:
        print_line(f"{failure}; retrying for up to {retry_s:g} s", err=True)


def requested_wait_s(response: httpx.Response) -> float | None:
    """Return the seconds that Retry-After states, or None without a valid value."""
    return parse_retry_after(response.headers.get("Retry-After"), datetime.now(timezone.utc))


def _message(error: Mapping[str, Any], status: int) -> str:
    """Return the message of the server. It begins with the option of the rejected value, or else with its name."""
    param = error.get("param")
    message = str(error["message"])
    named = message if not param or message.startswith(param) else f"{param}: {message}"
    return to_line(f"{name_fields(named, find_option)} ({status})")


def read_json(response: httpx.Response) -> Any:
    """Read the body of an open response as JSON. Raises ServerError if it isn't JSON."""
    response.read()
    try:
        return json.loads(response.content)
    except ValueError:
        raise ServerError(f"{response.url} responds with invalid JSON", response.status_code) from None


def read_list(server: Server, path: str, params: Mapping[str, str], stop_after: int | None = None) -> list[JsonObject]:
    """Return the items of all pages of a list, or of the first ones with more than `stop_after`. Raises ServerError."""
    items: list[JsonObject] = []
    cursor: dict[str, str] = {}
    while True:
        page = server.get(path, {**params, **cursor})
        items += page["data"]
        if not page["has_more"] or (stop_after is not None and len(items) > stop_after):
            return items
        cursor = {"starting_after": page["next_cursor"]}


def open_client(headers: Mapping[str, str] | None = None, **options: Any) -> httpx.Client:
    """Return a client that trusts `tls_context` and follows redirects. Raises ClientError for invalid variables."""
    named = {"User-Agent": user_agent(), **(headers or {})}
    try:
        return httpx.Client(headers=named, **options, verify=tls_context(), follow_redirects=True)
    except (OSError, ValueError) as error:
        raise ClientError(f"the variables for proxies or certificates are invalid: {error}") from error


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the certificates of the machine, or of certifi if the machine has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()  # of SSL_CERT_FILE and SSL_CERT_DIR, if set
    folder = Path(paths.capath) if paths.capath else None
    if not (context.get_ca_certs() or paths.cafile or (folder and any(folder.iterdir()))):
        context.load_verify_locations(certifi.where())
    return context


def describe_http_error(error: httpx.HTTPError) -> str:
    """Return the message of an error, or its type if it has no message."""
    return str(error) or type(error).__name__


class Heartbeat:
    """The time of the last sign of the server."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def renew(self, *_: Any) -> None:
        """Note a sign of the server."""
        self._last_s = time.monotonic()

    @property
    def silence_s(self) -> float:
        """The time since the last sign."""
        return time.monotonic() - self._last_s


def finish_in_time(work: Callable[[Heartbeat], _T], timeout_s: float = SILENCE_S, silence_s: float = SILENCE_S) -> _T:
    """Return the result of the work, which a thread executes, because name resolution, for example, can't be stopped.

    Raises ClientError if the server gives no sign for `silence_s`, or if the work takes too long.
    """
    heartbeat = Heartbeat()
    future: Future[_T] = Future()

    def execute() -> None:
        try:
            future.set_result(work(heartbeat))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=execute, daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while not wait([future], _POLL_S).done:
        if heartbeat.silence_s > silence_s:
            raise ClientError(f"the server gave no response for {silence_s:g} s")
        if time.monotonic() > deadline:
            raise ClientError(f"the delivery took longer than {timeout_s:g} s")
    return future.result()
