"""Exchange of ID tokens of CI jobs for keys: who gets one, what other callers learn, and what a key can do."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from aiohttp import ClientResponse

from service.artifacts.model import ArtifactLimits
from service.domain.errors import Unauthorized, Unavailable
from service.domain.ids import OrgId
from service.http.limits import FailedExchangeLimit
from service.identity.keys.model import Caller
from service.identity.members.operations import sign_in
from service.identity.publishers import store as publishers_store
from service.identity.publishers.api import FORM
from service.identity.publishers.model import JobClaims
from service.identity.publishers.token_exchanges import GRANT_TYPE, MAX_EXCHANGES
from service.outbound import issuers
from service.reports.untrusted_uploads import quota_of
from service.retention import cleanup
from tests.oidc.issuers import SigningIssuer, new_signing_key
from tests.report_api import PASSING, Reports, serving_reports_with_ingester
from tests.run_events import run_event
from tests.served import Api, listening, serve
from tests.splits.test_missing_items import assignment, form_of
from tests.statements import record_statements

URL: Final = "https://results.example.com"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
SETTINGS: Final[Mapping[str, Any]] = {"public_url": f"{URL}/", "issuer_allow_loopback": True}
IDS: Final = {"repository_id": "7", "repository_owner_id": "3"}
# A pull request of the repository: its branch and number are known, and its commit isn't.
CLAIMS: Final = {
    **IDS, "repository": "acme/shop", "ref": "refs/pull/75/merge", "head_ref": "fix", "base_ref": "main",
    "event_name": "pull_request", "sha": "f" * 40, "run_id": "812",
}  # fmt: skip
JOB: Final = "/acme/shop/actions/runs/812"


@pytest.fixture
def issuer() -> Iterator[SigningIssuer]:
    with SigningIssuer() as running:
        yield running


@asynccontextmanager
async def serving(database_url: str, **settings: Any) -> AsyncIterator[Api]:
    async with serve(database_url, **SETTINGS, **settings) as api:
        yield api


async def publish(api: Api, issuer: SigningIssuer, key: str | None = None, **fields: Any) -> Any:
    body = {"provider": "github", "issuer": issuer.url, "claims": IDS, "project_id": "shop", **fields}
    response = await api.send("POST", "/v1/publishers", json=body, key=key)
    assert response.status == 201, await response.text()
    return await response.json()


async def post(api: Api, form: Any, **headers: str) -> ClientResponse:
    return await api.http.post("/v1/token", data=form, headers=headers)


async def exchange(api: Api, token: str, **form: str) -> ClientResponse:
    return await post(api, {"grant_type": GRANT_TYPE, "subject_token": token, "subject_token_type": JWT, **form})


async def get_key(api: Api, issuer: SigningIssuer, claims: Mapping[str, Any] = CLAIMS, **form: str) -> str:
    """Return the key of a new token."""
    response = await exchange(api, issuer.sign({"aud": URL, **claims}), **form)
    body = await response.json()
    assert response.status == 200, body
    key: str = body["access_token"]
    return key


async def refusals(api: Api) -> list[Any]:
    """Return the reasons of the refused exchanges, newest first."""
    exchanges = (await api.get("/v1/token-exchanges"))["data"]
    return [exchange["refusal"] for exchange in exchanges if exchange["refusal"]]


async def error_of(response: ClientResponse) -> Any:
    assert response.status == 400, await response.text()
    assert response.headers["Cache-Control"] == "no-store"
    return await response.json()


async def test_an_invalid_request_gets_an_error_that_names_the_field(database_url: str, issuer: SigningIssuer) -> None:
    form = {"grant_type": GRANT_TYPE, "subject_token": "x", "subject_token_type": JWT}
    async with serving(database_url) as api:
        for fields, code, start in (
            ({"grant_type": "password"}, "unsupported_grant_type", "grant_type: "),
            ({"grant_type": ""}, "invalid_request", "grant_type: is required"),
            ({"subject_token": ""}, "invalid_request", "subject_token: is required"),
            ({"subject_token_type": "x"}, "invalid_request", "subject_token_type: "),
            ({"audience": "x", "grant_type": ""}, "invalid_request", "grant_type: is required"),
            ({"subject_token": "a.b.c"}, "invalid_request", "subject_token: "),
            ({"subject_token": "x" * 20_000}, "invalid_request", "subject_token: "),
        ):
            body = await error_of(await post(api, {**form, **fields}))
            assert body["error"] == code
            assert body["error_description"].startswith(start), body
        for sent in ([*form.items(), ("scope", "a"), ("scope", "b")], "scope=%ff", b"\xff", "&".join(["a=1"] * 101)):
            encoded = urlencode(sent) if isinstance(sent, list) else sent
            await error_of(await post(api, encoded, **{"Content-Type": FORM}))
        assert (
            "Content-Type"
            in (await error_of(await post(api, b"{}", **{"Content-Type": "application/json"})))["error_description"]
        )
        assert "'a' is not supported" in (await error_of(await api.http.post("/v1/token?a=1")))["error_description"]
        too_large = await api.http.post("/v1/token", data=BytesIO(b"x" * 2**20), headers={"Content-Type": FORM})
        assert (too_large.status, too_large.headers["Cache-Control"]) == (413, "no-store")
    async with listening(database_url) as http:
        body = await error_of(await exchange(Api(api.store, http), issuer.sign({"aud": URL})))
        assert "RESULTS_PUBLIC_URL" in body["error_description"]


async def test_every_token_without_a_publisher_gets_the_same_answer(database_url: str, issuer: SigningIssuer) -> None:
    async with serving(database_url) as api:
        with SigningIssuer() as other:  # whose URL no publisher names
            await publish(api, issuer, claims={**IDS, "ref": "refs/heads/main"})
            disabled = await publish(api, issuer, claims={"repository_id": "8", "repository_owner_id": "3"})
            await api.send("PATCH", f"/v1/publishers/{disabled['id']}", json={"enabled": False})
            main = {**CLAIMS, "ref": "refs/heads/main", "head_ref": ""}
            tokens = {
                "another issuer with the same claims": other.sign({"aud": URL, **main}),
                "that issuer, signed by another one": issuer.sign({"aud": URL, **main}, other.key),
                "that issuer, signed by an unknown key": issuer.sign({"aud": URL, **main}, new_signing_key()),
                "recreated": issuer.sign({"aud": URL, **main, "repository_id": "9"}),
                "moved to another owner": issuer.sign({"aud": URL, **main, "repository_owner_id": "4"}),
                "only the name": issuer.sign({"aud": URL, "repository": "acme/shop", "ref": "refs/heads/main"}),
                "claim of another type": issuer.sign({"aud": URL, **main, "repository_id": ["7"]}),
                "disabled": issuer.sign({"aud": URL, **main, "repository_id": "8"}),
                "other ref": issuer.sign({"aud": URL, **CLAIMS}),
                "expired, of an unknown repository": issuer.sign({"aud": URL, "repository_id": "9", "exp": 1}),
            }
            answers = {name: await (await exchange(api, token)).read() for name, token in tokens.items()}
            assert other.requests.total() == 0  # only issuers of publishers are contacted
        assert len(set(answers.values())) == 1, answers
        assert URL in next(iter(answers.values())).decode()
        assert await refusals(api) == [
            "ref must be 'refs/heads/main', but the token has 'refs/pull/75/merge'",
            "the publisher is disabled",
        ]


async def test_the_jobs_of_a_publisher_learn_what_is_wrong_with_their_token(
    database_url: str, issuer: SigningIssuer
) -> None:
    async with serving(database_url) as api:
        await publish(api, issuer)
        for claims, reason in (
            ({"aud": "https://other.example.com"}, "aud: "),
            ({"aud": [URL, "x"]}, "aud: "),
            ({"aud": URL, "exp": 1_000}, "exp: "),
            ({"aud": URL, "event_name": "pull_request_target"}, "jobs of the event pull_request_target"),
            ({"aud": URL, "head_ref": "main"}, "the pull request is one of a fork"),
        ):
            body = await error_of(await exchange(api, issuer.sign({**CLAIMS, **claims})))
            assert body["error_description"].startswith(f"subject_token: {reason}"), body
            assert (await refusals(api))[0].startswith(reason)
        issuer.stop()
        await api.resources.issuers.close()
        renamed = {"repository": "other/name", "sub": "repo:acme@3/shop@7:ref:refs/heads/main"}
        for sub in ({"sub": "repo:acme/shop:ref:refs/heads/main"}, renamed):  # both forms, with the cached keys
            assert await get_key(api, issuer, {**CLAIMS, **sub})


async def test_project_and_organization_are_chosen_by_the_request(database_url: str, issuer: SigningIssuer) -> None:
    async with serving(database_url) as api:
        await publish(api, issuer)
        await publish(api, issuer, role="engineer")
        await publish(api, issuer, project_id="docs")
        body = await error_of(await exchange(api, issuer.sign({"aud": URL, **CLAIMS})))
        assert (body["error"], body["projects"]) == ("invalid_scope", ["docs", "shop"])
        for scope in ("project:blog", "project:", "shop"):
            body = await error_of(await exchange(api, issuer.sign({"aud": URL, **CLAIMS}), scope=scope))
            assert (body["error"], body["projects"]) == ("invalid_scope", ["docs", "shop"])
        key = await get_key(api, issuer, scope="project:shop", audience="https://other.example", unknown="1")
        assert (await api.send("GET", "/v1/results/export", key=key)).status == 200  # that of the engineer
        assert (await api.send("GET", "/v1/api-keys", key=key)).status == 403


async def test_a_job_never_gets_a_key_of_an_organization_that_copies_the_ids_of_its_repository(
    database_url: str, issuer: SigningIssuer
) -> None:
    async with serving(database_url) as api:
        own = await publish(api, issuer, claims={**IDS, "ref": "refs/heads/main"})
        _, foreign_key = await api.make_organization("foreign")
        await publish(api, issuer, foreign_key)
        token = issuer.sign({"aud": URL, **CLAIMS})  # on another ref than that of the own publisher
        for sent in (token, issuer.sign({"aud": URL, **CLAIMS, "exp": 1})):
            body = await error_of(await exchange(api, sent))
            assert body["error_description"].startswith("organization: is required"), body
        usual = await (await exchange(api, token, organization="acme")).read()
        assert usual == await (await exchange(api, token, organization="unknown")).read()
        assert (await exchange(api, token, organization="foreign")).status == 200
        main = {**CLAIMS, "ref": "refs/heads/main", "head_ref": ""}
        assert (await exchange(api, issuer.sign({"aud": URL, **main}))).status == 400
        assert await get_key(api, issuer, main, organization="acme")
        assert (await api.get(f"/v1/publishers/{own['id']}"))["last_used_at"]
        assert await refusals(api) == ["ref must be 'refs/heads/main', but the token has 'refs/pull/75/merge'"]
        await api.send("PATCH", f"/v1/publishers/{own['id']}", json={"enabled": False})
        assert (await exchange(api, issuer.sign({"aud": URL, **main}))).status == 400
        foreign = await api.get("/v1/token-exchanges", key=foreign_key)
        assert [exchange["refusal"] for exchange in foreign["data"]] == [None]  # the one that names this organization
        await publish(api, issuer, provider="oidc", claims={"repository": "acme/lib", "ref": "main"}, project_id="lib")
        await publish(api, issuer, foreign_key, provider="oidc", claims={"repository": "acme/lib"})
        body = await error_of(await exchange(api, issuer.sign({"aud": URL, "repository": "acme/lib", "ref": "x"})))
        assert body["error_description"].startswith("organization: is required"), body


async def test_keys_of_a_token_are_limited_and_end_together(database_url: str, issuer: SigningIssuer) -> None:
    async with serving(database_url) as api:
        publisher = await publish(api, issuer)
        token = issuer.sign({"aud": URL, **CLAIMS})
        response = await exchange(api, token)
        issued = await response.json()
        assert response.headers["Cache-Control"] == "no-store"
        assert issued == {
            "access_token": issued["access_token"], "expires_in": 900, "scope": "project:shop", "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }  # fmt: skip
        others = await asyncio.gather(*(exchange(api, token) for _ in range(MAX_EXCHANGES + 3)))
        accepted = [await other.json() for other in others if other.status == 200]
        keys = [body["access_token"] for body in (issued, *accepted)]
        assert len(set(keys)) == len(keys) == MAX_EXCHANGES
        body = await error_of(await exchange(api, token))
        assert "already exchanged 20 times" in body["error_description"]
        unlimited = await get_key(api, issuer)  # of another token
        assert len((await api.get("/v1/api-keys"))["data"]) == 1  # the admin's
        caller = Caller(api.org_id, "key_1", "engineer", "shop", JobClaims("pub_1", "job"))
        async with api.store.pool.acquire() as connection:
            with pytest.raises(Unauthorized, match="CI job"):
                await sign_in(connection, caller, "", "")
        key_id = (await api.get("/v1/token-exchanges"))["data"][-1]["key_id"]  # of the first exchange
        assert (await api.send("POST", f"/v1/api-keys/{key_id}/rotate")).status == 404
        assert (await api.send("DELETE", f"/v1/api-keys/{key_id}")).status == 204
        assert (await api.send("GET", "/v1/runs", key=keys[-1])).status == 401
        assert (await api.send("GET", "/v1/runs", key=unlimited)).status == 200
        assert "already exchanged" in (await refusals(api))[0]
        other = await (await exchange(api, token)).json()
        assert "were revoked" in other["error_description"]
        assert (await api.get(f"/v1/publishers/{publisher['id']}"))["last_used_at"] is not None
        await api.store.pool.execute("UPDATE api_keys SET expires_at = now() WHERE publisher_id IS NOT NULL")
        api.resources.key_cache.clear()
        assert (await api.send("GET", "/v1/runs", key=unlimited)).status == 401
        assert await cleanup.delete_expired_keys(api.store.pool) == 0
        await api.store.pool.execute(
            "UPDATE api_keys SET expires_at = now() - interval '25 hours' WHERE name <> 'test'"
        )
        assert await cleanup.delete_expired_keys(api.store.pool) == MAX_EXCHANGES + 1


async def test_a_revocation_waits_for_an_exchange_of_the_token(
    database_url: str, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, revocations = publishers_store.insert_job_key, []
    async with serving(database_url) as api:
        await publish(api, issuer)
        token = issuer.sign({"aud": URL, **CLAIMS})
        await exchange(api, token)
        key_id = (await api.get("/v1/token-exchanges"))["data"][0]["key_id"]

        async def insert_slowly(*values: Any) -> None:
            revocations.append(asyncio.create_task(api.send("DELETE", f"/v1/api-keys/{key_id}")))
            await asyncio.sleep(0.2)
            await insert(*values)

        monkeypatch.setattr(publishers_store, "insert_job_key", insert_slowly)
        issued = await (await exchange(api, token)).json()
        assert (await revocations[0]).status == 204
        assert (await api.send("GET", "/v1/runs", key=issued["access_token"])).status == 401


async def test_failed_exchanges_of_an_address_are_limited(
    database_url: str, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailedExchangeLimit, "BURST", 3)
    async with serving(database_url) as api:
        await publish(api, issuer)
        for _ in range(5):  # accepted ones don't count
            await get_key(api, issuer)
        stranger = issuer.sign({"aud": URL})
        for token in (stranger, "a.b.c", issuer.sign({"aud": URL, **CLAIMS}, new_signing_key())):
            assert (await exchange(api, token)).status == 400
        statements = record_statements(monkeypatch)
        for token in (stranger, issuer.sign({"aud": URL, **CLAIMS}, new_signing_key(key_id=issuer.key.key_id)), "a.b"):
            refused = await exchange(api, token)
            assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (429, True)
        assert len(statements) == 1  # the issuers of all publishers, once
        await get_key(api, issuer)  # somebody else with the address of a proxy doesn't block the jobs behind it
        assert (await exchange(api, issuer.sign({"aud": "https://other.example", **CLAIMS}))).status == 429
        other = issuer.sign({"aud": URL, "n": 1})  # a valid token of a stranger is looked up once
        assert [(await exchange(api, other)).status for _ in range(2)] == [400, 429]


async def test_strangers_behind_the_same_proxy_stop_no_exchange_after_a_start(
    database_url: str, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has read no keys, and invalid tokens have used the limit of the address."""
    monkeypatch.setattr(FailedExchangeLimit, "BURST", 3)
    monkeypatch.setattr(FailedExchangeLimit, "PER_SECOND", 0.001)
    async with serving(database_url) as api:
        await publish(api, issuer)
        with SigningIssuer() as other:
            junk = ["a.b.c", *(other.sign({"aud": URL, "n": number}) for number in range(9))]
            assert [(await exchange(api, token)).status for token in junk] == [400] * 3 + [429] * 7
            await get_key(api, issuer)
            forged = [issuer.sign({"aud": URL, **CLAIMS}, new_signing_key()) for _ in range(3)]
            assert {(await exchange(api, token)).status for token in forged} == {429}
            monkeypatch.setattr(issuers, "_SEARCH_S", 0)  # a minute later
            issuer.rotate()
            await get_key(api, issuer)  # with a key that no process has read
            assert other.requests.total() == 0
            statements = record_statements(monkeypatch)
            assert [(await exchange(api, other.sign({"aud": URL}))).status for _ in range(3)] == [429] * 3
            assert statements == []
            await publish(api, other, claims={"repository_id": "8", "repository_owner_id": "3"})
            monkeypatch.setattr(api.resources.publisher_issuers, "_due_at", 0)  # a minute later
            await get_key(api, other, {**CLAIMS, "repository_id": "8"})  # of an issuer that was added meanwhile
            other.stop()
            monkeypatch.setattr(issuers, "_MAX_AGE_S", 0)
            monkeypatch.setattr(issuers, "_REFRESH_S", 0)
            assert (await exchange(api, other.sign({"aud": URL, **CLAIMS}))).status == 503


async def test_exchanges_beyond_the_limit_survive_an_outage_of_the_database(
    database_url: str, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailedExchangeLimit, "BURST", 1)
    monkeypatch.setattr(FailedExchangeLimit, "PER_SECOND", 0.001)
    list_issuers = publishers_store.list_issuers
    async with serving(database_url) as api:
        await publish(api, issuer)
        await exchange(api, "a.b.c")

        async def fail(_: Any) -> set[str]:
            raise Unavailable("the database is not available")

        monkeypatch.setattr(publishers_store, "list_issuers", fail)
        assert (await exchange(api, issuer.sign({"aud": URL, **CLAIMS}))).status == 503
        monkeypatch.setattr(publishers_store, "list_issuers", list_issuers)
        monkeypatch.setattr(api.resources.publisher_issuers, "_due_at", 0)  # seconds later
        await get_key(api, issuer)


@pytest.mark.parametrize(("provider", "is_shared"), [("github", True), ("oidc", False)])
async def test_idempotency_keys_belong_to_a_pipeline_or_to_one_key(
    database_url: str, issuer: SigningIssuer, provider: str, is_shared: bool
) -> None:
    """Many jobs of another issuer can have one `sub`: none of them gets the response to another one."""
    claims = {**CLAIMS, "sub": "project:shop"}
    async with serving(database_url) as api:
        await publish(api, issuer, provider=provider, role="engineer")
        replayed = []
        for _ in range(2):
            response = await api.send(
                "POST", "/v1/quarantines", key=await get_key(api, issuer, claims),
                json={"project_id": "shop", "name": "pays", "reason": "outage"}, Idempotency_Key="k",
            )  # fmt: skip
            assert response.status == 201
            replayed.append("Idempotent-Replayed" in response.headers)
        assert replayed == [False, is_shared]


def test_the_jobs_of_a_publisher_share_its_quota() -> None:
    job, limits = JobClaims("pub_1", "job"), ArtifactLimits()
    callers = [Caller(OrgId(1), key_id, "uploader", "shop", job) for key_id in ("key_1", "key_2")]
    assert {quota_of(caller, limits, limits).holder for caller in callers} == {"pub_1"}


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path, **SETTINGS) as served:
        yield served


async def test_a_job_uploads_with_the_values_of_its_token_to_its_own_runs(
    reports: Reports, issuer: SigningIssuer
) -> None:
    api = reports.api
    publisher = await publish(api, issuer)
    await api.store.ingest(run_event("nightly", project_id="shop", branch="main"))
    reports.api.key, admin = await get_key(api, issuer), api.key
    for run_id, params, field in (
        ("run_1", {"branch": "main"}, "branch"),
        ("run_1", {"pull_request": "76"}, "pull_request"),
        ("run_1", {"pipeline": "github-811"}, "pipeline"),
        ("nightly", {}, "run_id"),
        ("github-900:shop", {}, "run_id"),  # of a pipeline that hasn't begun
        ("run_1", {"project_id": "docs"}, "project_id"),
    ):
        response = await api.http.post(
            f"/v1/runs/{run_id}/report", data=PASSING, params={"project_id": "shop", **params},
            headers={"Authorization": f"Bearer {api.key}"},
        )  # fmt: skip
        body = await response.json()
        assert (response.status, body["error"]["code"]) == (403, "forbidden"), body
        assert body["error"]["message"].startswith(f"{field}: ")
    native = {
        "run": {"branch": "main", "pipeline": "github-1", "commit_sha": "c1"},
        "results": [{"name": "pays", "status": "passed"}],
    }
    receipt = await reports.wait_until_finished(
        await (await api.send("POST", "/v1/runs/github-812:shop/report", {"project_id": "shop"}, json=native)).json()
    )
    assert (receipt["status"], receipt["publisher_id"]) == ("stored", publisher["id"]), receipt
    assert receipt["job"].endswith(JOB)
    run = await api.get("/v1/runs/github-812:shop")
    assert [run[name] for name in ("branch", "pull_request", "pipeline", "commit_sha")] == [
        "fix",
        "75",
        "github-812",
        "c1",
    ]
    push = {**CLAIMS, "ref": "refs/heads/main", "head_ref": "", "run_id": "811"}
    api.key = await get_key(api, issuer, push)
    for method, path in (
        ("PUT", "/v1/runs/github-812:shop/artifacts/a.txt"),
        ("POST", "/v1/runs/github-812:shop/complete"),
        ("POST", "/v1/runs/github-812:shop/report?project_id=shop"),
    ):
        response = await api.send(method, path, json={})
        assert (response.status, (await response.json())["error"]["message"][:6]) == (403, "run_id"), path
    api.key = admin
    [entry] = await api.store.pool.fetch("SELECT actor, job FROM audit_trail WHERE action LIKE '%/report'")
    assert (entry["actor"], entry["job"]) == (publisher["id"], receipt["job"])


async def test_a_pull_request_occupies_only_ids_that_begin_with_no_pipeline(
    reports: Reports, issuer: SigningIssuer
) -> None:
    """A job of `main` that uses the ID later is refused, so its results aren't mixed with those of the pull request."""
    await publish(reports.api, issuer)
    of_pull_request = await get_key(reports.api, issuer)
    of_main = await get_key(reports.api, issuer, {**CLAIMS, "ref": "refs/heads/main", "head_ref": "", "run_id": "811"})
    for key, run_id, status in (
        (of_pull_request, "nightly-7", 202),
        (of_main, "nightly-7", 403),
        (of_pull_request, "github-811-nightly", 403),
        (of_main, "github-811-nightly", 202),
    ):
        response = await reports.post(PASSING, run_id, key=key)
        assert response.status == status, await response.text()
        if status == 202:
            await reports.wait_until_finished(await response.json())
    assert (await reports.api.get("/v1/runs/nightly-7"))["branch"] == "fix"
    assert (await reports.api.get("/v1/runs/github-811-nightly"))["branch"] == "main"


async def test_a_job_stores_only_decisions_about_its_own_runs(reports: Reports, issuer: SigningIssuer) -> None:
    """A job of a pull request can't let the run of `main` pass, and neither can another job of `main`."""
    api = reports.api
    publisher = await publish(api, issuer, name="CI of shop")
    await publish(api, issuer, role="engineer", claims={**IDS, "event_name": "workflow_run"})
    for run_id, branch, pipeline in (
        ("github-811:shop", "main", "github-811"),
        ("github-812:shop", "fix", "github-812"),
        ("github-813:shop", "fork:fix", "github-813"),
        ("nightly", "main", None),
    ):
        await api.store.ingest(run_event(run_id, project_id="shop", branch=branch, pipeline=pipeline))
    await api.store.pool.execute(
        "UPDATE runs SET run_id = 'untrusted:' || run_id WHERE branch = 'fork:fix'"
    )  # promoted
    await api.send("PUT", "/v1/gates/release", json={"policy": {"max_failures": 0}})
    main = {**CLAIMS, "ref": "refs/heads/main", "head_ref": ""}
    of_pull_request, of_main = await get_key(api, issuer), await get_key(api, issuer, {**main, "run_id": "811"})
    promoting = await get_key(api, issuer, {**main, "run_id": "814", "event_name": "workflow_run"})
    for key, run_id, status in (
        (of_pull_request, "github-811:shop", 200),
        (of_pull_request, "nightly", 200),
        (of_pull_request, "untrusted:github-813:shop", 200),
        (of_pull_request, "github-812:shop", 201),
        (of_main, "nightly", 200),
        (of_main, "github-811:shop", 201),
        (promoting, "github-811:shop", 200),
        (promoting, "untrusted:github-813:shop", 201),
    ):
        for rules in ({"gate": "release"}, {"policy": {"max_failures": 0}, "record": True}):
            body = {**rules, "allow_missing_parts": ["*"]}
            response = await api.send("POST", f"/v1/runs/{run_id}/decisions", key=key, json=body)
            decision = await response.json()
            assert (response.status, decision["id"] is None) == (status, status == 200), (run_id, decision)
            assert response.headers.get("Location") == (f"/v1/decisions/{decision['id']}" if status == 201 else None)
    stored = (await api.get("/v1/decisions"))["data"]
    assert len(stored) == 6
    assert {(each["created_by"], each["created_by_name"]) for each in stored[2:]} == {(publisher["id"], "CI of shop")}


async def test_a_job_excuses_only_its_own_runs(reports: Reports, issuer: SigningIssuer) -> None:
    api = reports.api
    await publish(api, issuer, name="CI of shop")
    key = await get_key(api, issuer)
    for pipeline, status in (("github-811", 403), (None, 403), ("github-812", 201)):
        run_id = f"{pipeline}:shop"
        await api.store.ingest(run_event(run_id, project_id="shop", branch="fix", pipeline=pipeline))
        receipts = [each["id"] for each in (await api.get("/v1/receipts", {"run_id": run_id}))["data"]]
        response = await api.send("POST", f"/v1/runs/{run_id}/excuses", key=key, json={"receipts": receipts})
        assert response.status == status, await response.text()
    assert (await response.json())["created_by_name"] == "CI of shop"


async def test_a_job_plans_only_for_its_own_pipeline(database_url: str, issuer: SigningIssuer) -> None:
    async with serving(database_url) as api:
        publisher = await publish(api, issuer)
        key = await get_key(api, issuer)
        for run_id, pipeline in (("main-1", "github-811"), ("fix-1", "github-812")):
            await api.store.ingest(run_event(run_id, project_id="shop", branch="fix", pipeline=pipeline))
        for fields, status in (
            ({}, 201), ({"pipeline": "github-812"}, 200), ({"pipeline": "github-811"}, 403),
            ({"run_id": "main-1"}, 403), ({"run_id": "github-811:shop"}, 403), ({"run_id": "fix-1"}, 201),
            ({"project_id": "blog"}, 403),
        ):  # fmt: skip
            body = {"project_id": "shop", "total": 2, "items": ["a", "b"], **fields}
            response = await api.send("PUT", "/v1/splits/unit", json=body, key=key)
            planned = await response.json()
            assert response.status == status, (fields, planned)
            assert status == 403 or planned["pipeline"] == "github-812"
        assert {row[0] for row in await api.store.pool.fetch("SELECT created_by FROM splits")} == {publisher["id"]}


async def test_a_run_that_is_stored_after_the_request_is_still_protected(
    reports: Reports, issuer: SigningIssuer
) -> None:
    """The worker checks the run again, under its lock."""
    api = reports.api
    await publish(api, issuer)
    key = await get_key(api, issuer)
    async with api.store.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('reports'))")  # no worker claims the report
        response = await reports.post(PASSING, "nightly", key=key)
        assert response.status == 202, await response.text()
        await api.store.ingest(run_event("nightly", project_id="shop", branch="main"))
    receipt = await reports.wait_until_finished(await response.json())
    assert (receipt["status"], receipt["problems"][0]["reason"][:6]) == ("rejected", "run_id"), receipt
    assert (await api.get("/v1/runs/nightly"))["branch"] == "main"


async def test_a_key_of_a_job_reads_with_the_same_statements_as_a_stored_key(
    database_url: str, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(database_url) as api:
        await publish(api, issuer)
        keys = [(await api.make_key("uploader", project_id="shop")).key, await get_key(api, issuer)]
        paths = "/v1/runs", "/v1/results", "/v1/cases?project_id=shop", "/v1/receipts", "/v1/failures?project_id=shop"
        executed = record_statements(monkeypatch)
        recorded = []
        for key in keys:
            executed.clear()
            for path in paths:
                assert (await api.send("GET", path, key=key)).status == 200
            recorded.append(list(executed))
        assert recorded[0] == recorded[1]
        assert len(recorded[0]) > len(paths)


async def test_publishers_are_read_only_for_an_authentic_token_and_by_its_ids(
    database_url: str, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(database_url) as api:
        await publish(api, issuer)
        await publish(api, issuer, claims={"repository_id": "8", "repository_owner_id": "3"})
        statements = record_statements(monkeypatch)
        await error_of(await exchange(api, issuer.sign({"aud": URL, **CLAIMS})[:-8] + "AAAAAAAA"))
        assert not any("find_publishers" in statement for statement in statements)
        found = await publishers_store.find_by_ids(api.resources.pool, issuer.url, [{"repository_id": "8"}])
        assert [publisher.claims["repository_id"] for publisher in found] == ["8"]


@pytest.mark.nightly
async def test_10_000_requests_from_one_address_cost_few_verifications(
    database_url: str, issuer: SigningIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(database_url) as api:
        await publish(api, issuer)
        tokens = [issuer.sign({"aud": URL, "n": number}) for number in range(10)]
        statements = record_statements(monkeypatch)
        statuses = [(await exchange(api, tokens[number % 10])).status for number in range(10_000)]
        refused = statuses.count(400)
        assert statuses.count(429) + refused == 10_000
        assert refused < FailedExchangeLimit.BURST + 0.5 * 120
        assert sum("is_issuer_known" in statement for statement in statements) == refused


async def test_job_states_only_items_of_its_own_pipeline(reports: Reports, issuer: SigningIssuer) -> None:
    api = reports.api
    await publish(api, issuer)
    await api.store.ingest(run_event("nightly", project_id="shop", branch="main"))
    api.key = await get_key(api, issuer)
    requests: list[tuple[dict[str, Any], int]] = [
        ({"pipeline": "github-811"}, 403),
        ({"run_id": "nightly"}, 403),
        ({"run_id": "github-811:shop"}, 403),
        ({}, 202),  # it belongs to the pipeline of the token
        ({"pipeline": "github-812", "key": "other"}, 202),
    ]
    for stated, status in requests:
        form = form_of(PASSING.decode(), assignment([], **{"pipeline": None, **stated}))
        response = await reports.post(form, "github-812:shop")
        assert response.status == status, await response.text()
    stored = await api.store.pool.fetch("SELECT DISTINCT pipeline, run_id FROM split_assignments")
    assert [tuple(row) for row in stored] == [("github-812", "")]
