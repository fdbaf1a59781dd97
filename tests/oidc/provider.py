"""The certified provider `oidc-provider` on loopback: people sign in at it, and it signs ID tokens of CI jobs.

In the conftest.py of tests that use it, import the fixtures `oidc_packages` and `oidc_provider`.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest

SOURCE: Final = Path(__file__).parents[1] / "data" / "oidc_provider"
INSTALL_TIMEOUT_S: Final = 300
TIMEOUT_S: Final = 30
ADA: Final = {"email": "ada@example.com", "email_verified": True, "name": "Ada Lovelace", "groups": ["qa"]}
GRACE: Final = {"email": "grace@example.com", "email_verified": True, "name": "Grace Hopper", "groups": []}


class OidcProvider:
    """A running provider, which a test changes over HTTP."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]") -> None:
        self.url = url
        self._process = process
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    def change(self, **state: Any) -> None:
        """Replace `accounts` (claims by name), `clients` (their metadata), or `claims_in_id_token`."""
        self._post("/test/state", state)

    def rotate(self, *, keep: bool = False) -> str:
        """Sign with a new key, and return its ID. Without `keep`, the keys before aren't published anymore."""
        return str(self._post("/test/rotate", {"keep": keep})["kid"])

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Return a token of a CI job. The claims iss, iat, nbf, exp, and jti are added; None omits one of them."""
        return str(self._post("/test/tokens", {"claims": claims, "header": header or {}})["token"])

    def stop(self) -> None:
        """End the process. Its port refuses connections then."""
        self._http.close()
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(TIMEOUT_S)
        finally:
            self._process.kill()

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        response = self._http.post(path, json=body)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


@contextmanager
def running_provider(
    packages: Path, clients: Sequence[Mapping[str, Any]] = (), accounts: Mapping[str, Any] | None = None
) -> Iterator[OidcProvider]:
    """Run a provider with the accounts `ada` and `grace` unless others are given."""
    state = {"accounts": accounts or {"ada": ADA, "grace": GRACE}, "clients": clients}
    with (packages / "provider.log").open("ab") as log:
        process = subprocess.Popen(
            ["node", "server.mjs", orjson.dumps(state)], cwd=packages, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=log,
        )  # fmt: skip
    assert process.stdout
    with process.stdout:
        line = process.stdout.readline()
    assert line, (packages / "provider.log").read_text()
    provider = OidcProvider(orjson.loads(line)["issuer"], process)
    try:
        yield provider
    finally:
        provider.stop()


@pytest.fixture(scope="session")
def oidc_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the locked packages into a folder of the session. npm downloads them only once."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not installed (Debian packages: nodejs, npm)")
    folder = tmp_path_factory.mktemp("oidc") / "provider"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--prefer-offline"], cwd=folder, check=True, timeout=INSTALL_TIMEOUT_S)
    return folder


@pytest.fixture
def oidc_provider(oidc_packages: Path) -> Iterator[OidcProvider]:
    """A provider of its own for a test. Register the client of the test with `change(clients=[…])`."""
    with running_provider(oidc_packages) as provider:
        yield provider
