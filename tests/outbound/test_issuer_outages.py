"""The cached keys of issuers: rotations, outages, and issuers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import orjson
import pytest

from service.domain.addresses import AllowedAddresses
from service.outbound import issuer_documents, issuers
from service.outbound.issuer_documents import open_issuer_client
from service.outbound.issuers import Issuers, IssuerUnavailable, TokenRefused, open_issuers
from service.version import user_agent
from tests.oidc.issuers import CONFIGURATION, KEYS, Reply, SigningIssuer, new_signing_key

AUDIENCE = "https://results.example.com"
CLAIMS = {"aud": AUDIENCE}
SECRET = {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "1"}
HOUR_S = 3_600


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[SigningIssuer]:
    with SigningIssuer() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def verifier(clock: Clock) -> AsyncIterator[Issuers]:
    async with open_issuer_client(AllowedAddresses(loopback=True)) as client:
        opened = Issuers(client, clock)
        yield opened
        await opened.close()


async def verify(verifier: Issuers, issuer: SigningIssuer, token: str | None = None) -> None:
    await verifier.verify(token or issuer.sign(CLAIMS), issuer.url, AUDIENCE)


async def test_keys_are_requested_once(issuer: SigningIssuer, verifier: Issuers) -> None:
    await asyncio.gather(*(verify(verifier, issuer) for _ in range(10)))
    await verify(verifier, issuer)
    assert issuer.requests == {CONFIGURATION: 1, KEYS: 1}
    assert issuer.user_agents == {user_agent()}


@pytest.mark.parametrize("is_cached", [True, False])
async def test_fifty_concurrent_tokens_with_an_unknown_kid_cause_one_request(
    issuer: SigningIssuer, verifier: Issuers, is_cached: bool
) -> None:
    if is_cached:
        await verify(verifier, issuer)
        issuer.requests.clear()
    forged = issuer.sign(CLAIMS, key=new_signing_key())
    verified = await asyncio.gather(*(verify(verifier, issuer, forged) for _ in range(50)), return_exceptions=True)
    assert {type(each) for each in verified} == {TokenRefused}
    assert issuer.requests == {CONFIGURATION: 1, KEYS: 1}


async def test_unknown_kid_refreshes_the_keys_once_a_minute(
    issuer: SigningIssuer, verifier: Issuers, clock: Clock
) -> None:
    await verify(verifier, issuer)
    before = issuer.sign(CLAIMS)
    issuer.rotate()
    await verify(verifier, issuer)  # rotated
    with pytest.raises(TokenRefused, match=r"^kid: the issuer \S+ has no key with the ID '\w+' for ES256; request a"):
        await verify(verifier, issuer, before)
    issuer.rotate()
    clock.now += 59
    with pytest.raises(TokenRefused, match=r"^kid: "):
        await verify(verifier, issuer)
    assert issuer.requests[KEYS] == 2
    clock.now += 1
    await verify(verifier, issuer)
    assert issuer.requests[KEYS] == 3


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"keys": []}), Reply({"keys": [SECRET]}), Reply({"keys": "none"}), Reply(b"[]"), Reply(b"<html>"),
        Reply(status=500), Reply(status=302, headers={"Location": "/other"}),
    ],
    ids=["empty", "symmetric", "no-list", "list", "html", "error", "redirect"],
)  # fmt: skip
async def test_broken_set_never_replaces_a_good_one(
    issuer: SigningIssuer, verifier: Issuers, clock: Clock, reply: Reply
) -> None:
    await verify(verifier, issuer)
    issuer.replies[KEYS] = reply
    with pytest.raises(IssuerUnavailable, match=KEYS):
        await verify(verifier, issuer, issuer.sign(CLAIMS, key=new_signing_key()))
    for age_s in (0, HOUR_S, 23 * HOUR_S):
        clock.now = 1_000 + age_s
        await verify(verifier, issuer)
    assert issuer.requests[KEYS] == 4


async def test_set_of_10_mb_is_refused(issuer: SigningIssuer, verifier: Issuers) -> None:
    issuer.replies[KEYS] = Reply(orjson.dumps({"keys": issuer.published}) + b" " * 10 * 2**20)
    with pytest.raises(IssuerUnavailable, match=rf"{KEYS}: the response has more than 256 KiB$"):
        await verify(verifier, issuer)


async def test_withdrawn_key_is_refused_after_an_hour(issuer: SigningIssuer, verifier: Issuers, clock: Clock) -> None:
    await verify(verifier, issuer)
    before = issuer.sign(CLAIMS)
    issuer.rotate()
    clock.now += HOUR_S - 1
    await verify(verifier, issuer, before)
    clock.now += 1
    with pytest.raises(TokenRefused, match=r"^kid: "):
        await verify(verifier, issuer, before)


async def test_stopped_issuer_does_not_matter_for_a_day(issuer: SigningIssuer, verifier: Issuers, clock: Clock) -> None:
    await verify(verifier, issuer)
    issuer.stop()
    clock.now += 24 * HOUR_S - 1
    await verify(verifier, issuer)
    clock.now += 11
    with pytest.raises(IssuerUnavailable, match=rf"^{issuer.url}{CONFIGURATION}: ClientConnectorError: "):
        await verify(verifier, issuer)
    issuer.start()
    clock.now += 10
    await verify(verifier, issuer)


async def test_stopped_issuer_without_cached_keys_is_requested_again_after_a_pause(
    issuer: SigningIssuer, verifier: Issuers, clock: Clock
) -> None:
    issuer.replies[CONFIGURATION] = Reply(status=503)
    for _ in range(3):
        with pytest.raises(IssuerUnavailable, match=r"responds with the status 503$"):
            await verify(verifier, issuer)
    assert issuer.requests[CONFIGURATION] == 1
    issuer.replies.clear()
    clock.now += 10
    await verify(verifier, issuer)


@pytest.mark.parametrize("path", [CONFIGURATION, KEYS])
async def test_slow_issuer_is_unavailable(
    issuer: SigningIssuer, verifier: Issuers, clock: Clock, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(issuer_documents, "_DEADLINE_S", 0.1)
    monkeypatch.setattr(issuers, "_PATIENCE_S", 0.01)
    issuer.replies[path] = Reply(delay_s=0.3)
    with pytest.raises(IssuerUnavailable, match=r": no complete response within 0\.1 s$"):
        await verify(verifier, issuer)
    issuer.replies.clear()
    clock.now += 10
    monkeypatch.setattr(issuer_documents, "_DEADLINE_S", 5)
    await verify(verifier, issuer)
    issuer.replies[path] = Reply(delay_s=3)
    clock.now += HOUR_S
    async with asyncio.timeout(2.5):
        await verify(verifier, issuer)  # with the cached keys


async def test_canceled_caller_does_not_cancel_the_others(issuer: SigningIssuer, verifier: Issuers) -> None:
    first, second = (asyncio.create_task(verify(verifier, issuer)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    assert issuer.requests[KEYS] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": "https://other.example.com"}, "states the issuer 'https://other.example.com', which must be 'http"),
        ({"issuer": "{url}/"}, "states the issuer 'http://127.0.0.1:"),
        ({"issuer": None}, "states the issuer None"),
        ({"jwks_uri": None}, "has no jwks_uri"),
        ({"jwks_uri": "http://example.com/keys"}, "must start with https://"),
        ({"jwks_uri": "file:///etc/passwd"}, "must have a host"),
        ({"jwks_uri": "https://user@example.com/keys"}, "must have a host, no user name"),
        ({"jwks_uri": "https://10.1.2.3/keys"}, "10.1.2.3 is not a public address"),
        ({"jwks_uri": "https://[fd12::1]/keys"}, "fd12::1 is not a public address"),
        ({"jwks_uri": "https://[/keys"}, "must be a valid URL"),
    ],
)
async def test_configuration_that_leads_elsewhere_is_not_used(
    issuer: SigningIssuer, verifier: Issuers, changes: Mapping[str, Any], reason: str
) -> None:
    values = {name: value.format(url=issuer.url) if value else value for name, value in changes.items()}
    issuer.replies[CONFIGURATION] = Reply({"issuer": issuer.url, "jwks_uri": f"{issuer.url}{KEYS}", **values})
    with pytest.raises(IssuerUnavailable) as raised:
        await verify(verifier, issuer)
    assert reason in raised.value.reason


async def test_redirect_to_a_private_address_is_not_followed(issuer: SigningIssuer, verifier: Issuers) -> None:
    with SigningIssuer() as internal:
        issuer.replies[CONFIGURATION] = Reply(status=302, headers={"Location": f"{internal.url}{CONFIGURATION}"})
        with pytest.raises(IssuerUnavailable, match=r"responds with the status 302, and redirects aren't followed$"):
            await verify(verifier, issuer)
        assert not internal.requests


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://localhost:{port}", r"127\.0\.0\.1 is not a public address|::1 is not a public address"),
        ("https://127.0.0.1:{port}", r"127\.0\.0\.1 is not a public address"),
        ("http://127.0.0.1:{port}", "must start with https://"),
        ("https://127.0.0.1:{port}/?tenant=1", "must have no query"),
    ],
)
async def test_issuer_at_a_private_address_is_not_requested(issuer: SigningIssuer, url: str, reason: str) -> None:
    url = url.format(port=issuer.url.rpartition(":")[2])
    async with open_issuers(AllowedAddresses()) as public_only:
        with pytest.raises(IssuerUnavailable, match=reason):
            await public_only.verify(issuer.sign({**CLAIMS, "iss": url}), url, AUDIENCE)
    assert not issuer.requests
