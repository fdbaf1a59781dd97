"""Benchmark of ID tokens: the time to verify a token with cached keys, relative to a bare `jwt.decode` in the same run.

    python -m benchmarks.tokens [--tokens 5000]

Budget: p99 ≤ 5 ms. The tokens have the claims of a CI job, and all differ. Each one is verified with `Issuers.verify`
and with `jwt.decode` of PyJWT and the key object, one directly after the other. The times are CPU times: nothing waits,
and the elapsed time of so short a task measures the other programs of a busy host. The ratio is that of the medians.
"""

import argparse
import time
from statistics import median, quantiles
from typing import Any, Final

import jwt
import uvloop

from service.domain.addresses import AllowedAddresses
from service.outbound.issuers import Issuers, open_issuers
from tests.oidc.issuers import SigningIssuer

ALGORITHMS: Final = ("RS256", "ES256")
AUDIENCE: Final = "https://results.example.com"
BUDGET_MS: Final = 5.0


def job_claims(number: int) -> dict[str, Any]:
    """Return the claims of a job of GitHub Actions, which has about 30."""
    repository, commit = f"example/shop-{number % 50}", f"{number:040x}"
    workflow = f"{repository}/.github/workflows/check.yml@refs/heads/branch-{number}"
    names = ("base_ref", "environment", "event_name", "head_ref", "ref_type", "repository_visibility", "workflow")
    return {
        "aud": AUDIENCE, "actor": f"person-{number % 30}", "actor_id": str(number % 30), "job_workflow_ref": workflow,
        "job_workflow_sha": commit, "ref": f"refs/heads/branch-{number}", "repository": repository,
        "repository_id": str(number % 50), "repository_owner": "example", "repository_owner_id": "1",
        "run_attempt": "1", "run_id": str(8_000_000_000 + number), "run_number": str(number),
        "runner_environment": "github-hosted",
        "sha": commit, "sub": f"repo:{repository}:ref:refs/heads/branch-{number}", "workflow_ref": workflow,
        "workflow_sha": commit, **{name: f"{name} {number}" for name in names},
    }  # fmt: skip


async def measure(issuers: Issuers, issuer: SigningIssuer, tokens: list[str]) -> tuple[list[float], list[float]]:
    """Return the milliseconds of the service and those of the bare library for each token."""
    key, algorithms = issuer.key.private_key.public_key(), [issuer.key.algorithm]
    await issuers.verify(tokens[0], issuer.url, AUDIENCE)
    times: tuple[list[float], list[float]] = ([], [])
    for token in tokens:
        started = time.thread_time()
        await issuers.verify(token, issuer.url, AUDIENCE)
        verified = time.thread_time()
        jwt.decode(token, key, algorithms, audience=AUDIENCE, issuer=issuer.url)
        times[0].append((verified - started) * 1000)
        times[1].append((time.thread_time() - verified) * 1000)
    return times


async def run(count: int) -> None:
    async with open_issuers(AllowedAddresses(loopback=True)) as issuers:
        for algorithm in ALGORITHMS:
            with SigningIssuer(algorithm) as issuer:
                tokens = [issuer.sign(job_claims(number)) for number in range(count)]
                ours, bare = await measure(issuers, issuer, tokens)
            print(f"{algorithm}: {describe(ours)}, budget p99 ≤ {BUDGET_MS:g} ms; jwt.decode: {describe(bare)}")
            print(f"{algorithm}: × of jwt.decode: {median(ours) / median(bare):.2f}")


def describe(times: list[float]) -> str:
    return f"p50 {median(times):.2f} ms, p99 {quantiles(times, n=100)[-1]:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=5_000, help="tokens per algorithm")
    uvloop.run(run(parser.parse_args().tokens))


if __name__ == "__main__":
    main()
