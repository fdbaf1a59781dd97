"""A server with the client archive, a code host, and the programs that the documented pipelines call."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from service.client.comment_texts import read_sections
from tests.client.code_hosts import CodeHostServer, serving_code_host
from tests.integrations.steps import ROOT, server_variables
from tests.oidc.issuers import SigningIssuer
from tests.oidc.provider import oidc_packages as oidc_packages
from tests.oidc.provider import oidc_provider as oidc_provider
from tests.pipelines import tools
from tests.pipelines.job_tokens import JobTokens, giving_tokens, new_public_url, publish
from tests.report_api import Reports, serving_reports_with_ingester


@dataclass
class Pipelines:
    """What a pipeline of the page docs/guides/ci.md uses. `replaced` are the values that a reader adapts."""

    reports: Reports
    host: CodeHostServer
    tokens: JobTokens
    replaced: Mapping[str, str]
    folder: Path
    path: Path
    page: str

    async def runs(self, pipeline: str) -> dict[str, str]:
        """Return the status of each run of a pipeline by project."""
        page = await self.reports.api.get("/v1/runs", {"pipeline": pipeline})
        return {run["project_id"]: run["status"] for run in page["data"]}

    def comments(self) -> dict[str, str]:
        """Return the sections of the only comment by project."""
        sections = [section for text in self.host.texts for section in read_sections(text)]
        assert len(self.host.texts) == bool(sections)
        return {section.project: section.body for section in sections}


@pytest.fixture
def signing_issuer() -> Iterator[SigningIssuer]:
    with SigningIssuer() as issuer:
        yield issuer


@pytest.fixture
async def pipelines(
    database_url: str, tmp_path: Path, client_sha256: str, signing_issuer: SigningIssuer
) -> AsyncIterator[Pipelines]:
    """The jobs of this server have no key: trusted publishers of three projects accept their ID tokens."""
    path = tools.install(tmp_path / "bin")
    page = (ROOT / "docs" / "guides" / "ci.md").read_text()
    async with (
        serving_reports_with_ingester(
            database_url, tmp_path / "storage", public_url=new_public_url(), issuer_allow_loopback=True
        ) as reports,
        serving_code_host() as host, giving_tokens(signing_issuer.sign) as tokens,
    ):  # fmt: skip
        for system in ("github", "gitlab"):
            for project in ("api", "web", "worker"):
                await publish(reports, system, project, signing_issuer.url)
        replaced = {
            "RESULTS_URL": server_variables(reports)["RESULTS_URL"], "RESULTS_CLIENT_SHA256": client_sha256,
            "RESULTS_CLIENT_VERSION": version("zof-results"),
        }  # fmt: skip
        yield Pipelines(reports, host, tokens, replaced, tmp_path / "jobs", path, page)
