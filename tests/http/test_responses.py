"""Responses are compact JSON, whether Python or PostgreSQL writes it. In the list of runs, only labels have spaces."""

import re

from tests.run_events import result, run_event
from tests.served import Api

TEXT = re.compile(r'"(?:\\.|[^"\\])*"')
FAILED = result(
    "pays", "failed", failure={"message": "no"}, attempts=[{"status": "failed"}, {"status": "failed"}],
    artifacts=[{"name": "a.log", "uri": "s3://logs/a.log"}, {"name": "b.log", "uri": "s3://logs/b.log"}],
)  # fmt: skip


async def test_every_response_is_compact_json(api: Api) -> None:
    for number in range(2):
        await api.store.ingest(
            run_event(f"run_{number}", [FAILED, result("ships")], labels={"team": "pay", "tier": "1"})
        )
    export_request = {"format": "csv", "filter": {"status": ["failed", "error"], "run_id": "run_1"}}
    responses = [await api.send("POST", "/v1/results/export", json=export_request) for _ in range(2)]
    responses += [await api.send("POST", "/v1/webhooks", json={"url": "https://example.org"}) for _ in range(2)]
    hook, export = responses[-1].headers["Location"], responses[0].headers["Location"]
    responses += [await api.send("POST", f"{hook}/test") for _ in range(2)]
    responses.append(await api.send("POST", f"{hook}/recover", json={"since": "2026-01-01"}))
    await api.store.pool.execute("""UPDATE deliveries SET attempt_log = '[{"at": "now", "status": 200}]'""")
    [one, *_] = (await api.get("/v1/results"))["data"]
    paths = [
        "/v1/results", f"/v1/results/{one['id']}", f"/v1/results/{one['id']}/artifacts", "/v1/runs", "/v1/runs/run_1",
        "/v1/cases?project_id=shop", f"/v1/cases/{one['case']}", "/v1/receipts", "/v1/results/export", export,
        "/v1/webhooks", hook, f"{hook}/deliveries", responses[-1].headers["Location"], "/v1/events", "/v1/api-keys",
        "/readyz", "/healthz",
    ]  # fmt: skip
    for response in [*responses, *[await api.send("GET", path) for path in paths]]:
        structure = TEXT.sub("", await response.text())
        if response.url.path == "/v1/runs":
            structure = structure.replace("{: , : }", "{}")
        assert not re.search(r"\s", structure), response.url
