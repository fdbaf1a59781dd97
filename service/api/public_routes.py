"""The routes that need no key: the exchange of tokens, health, metrics, documentation, and the client."""

from typing import Any, Final

from service.api import client_files, documentation, health, metrics
from service.contracts import responses as out
from service.http.routes import BINARY, Operation, Route, with_etag
from service.identity.publishers import api as publishers_api
from service.identity.publishers.contract import IssuedToken, TokenError, TokenExchangeForm

PUBLIC_ROUTES: Final = (
    Route("POST", "/v1/token", publishers_api.exchange_token, None, Operation(
        "exchange_token", "Exchange the ID token of a CI job for an API key", {200: IssuedToken, 400: TokenError},
        form=TokenExchangeForm, repeatable=False, errors=("too_large", "rate_limit_exceeded", "unavailable"),
        description="The exchange of tokens of RFC 8693, without authentication of the client. The ID token must be one"
        " of a trusted publisher. The key has the project and the role of the publisher, and expires after 15 minutes."
        " A token can be exchanged 20 times. Errors have the form of RFC 6749, section 5.2. The operation ignores"
        " `Idempotency-Key`: each request creates a key. Failed exchanges are limited by address.",
    )),
    Route("GET", "/healthz", health.get_health, None, Operation(
        "get_health", "Check that the process responds", {200: out.Health},
        description="Checks no other component, so that an outage of the database restarts no process.",
    )),
    Route("GET", "/readyz", health.get_readiness, None, Operation(
        "get_readiness", "Check whether the service is ready for queries", {200: out.Readiness, 503: out.Readiness},
        description="Shows the state of each component. Missing consumers only delay incoming results. "
        "Without the storage, only uploads and downloads fail.",
    )),
    Route("GET", "/metrics", metrics.get_metrics, None, Operation(
        "get_metrics", "Get metrics for Prometheus", {200: "text/plain"},
        description="Requests of all API processes and backlogs in the database, without data about organizations.",
    )),
    Route("GET", "/openapi.json", documentation.get_openapi_document, None, Operation(
        "get_openapi_document", "Get this OpenAPI document", {200: dict[str, Any]},
        description="OpenAPI 3.1, for client generators.",
    )),
    Route("GET", "/docs", documentation.get_documentation_page, None, Operation(
        "get_documentation_page", "Get the API reference as a web page", {200: "text/html"},
        description="Sends requests from the browser with an API key that you enter.",
    )),
    Route("GET", "/docs/{name}", documentation.get_documentation_asset, None, Operation(
        "get_documentation_asset", "Get an asset of the API reference", {200: BINARY}, errors=("not_found",),
        description="A script, a style sheet, or an icon.",
    )),
    Route("GET", "/client.pyz", client_files.download_client, None, Operation(
        "download_client", "Download the command line for CI jobs", with_etag(BINARY), errors=("not_found",),
        description="A single file that requires only Python 3.10 or newer.",
    )),
    Route("GET", "/client.pyz.sha256", client_files.get_client_sha256, None, Operation(
        "get_client_sha256", "Get the SHA-256 of the command line for CI jobs", with_etag("text/plain"),
        errors=("not_found",), description="In the format of `sha256sum --check`.",
    )),
    Route("GET", "/client/{version}.pyz", client_files.download_client_version, None, Operation(
        "download_client_version", "Download one version of the command line for CI jobs", with_etag(BINARY),
        errors=("not_found",),
        description="The server stores each of its versions once, so that an upgrade changes no file that a job uses.",
    )),
    Route("GET", "/client/{version}.pyz.sha256", client_files.get_client_version_sha256, None, Operation(
        "get_client_version_sha256", "Get the SHA-256 of one version of the command line for CI jobs",
        with_etag("text/plain"), errors=("not_found",), description="In the format of `sha256sum --check`.",
    )),
)  # fmt: skip
