"""The workflow of GitHub with parallel jobs in docs/guides/ci.md: the gate names the files that no job executed."""

import pytest

from tests.pipelines.conftest import Pipelines
from tests.pipelines.github import Trigger, Workflow

pytestmark = pytest.mark.slow

CHECKOUT = "#!/bin/sh\nmkdir tests && cd tests && touch test_a.py test_b.py test_c.py test_d.py test_e.py conftest.py\n"


@pytest.mark.parametrize(("outcome", "result"), [("passed", "success"), ("canceled", "failure")])
async def test_gate_names_the_files_of_a_canceled_job(pipelines: Pipelines, outcome: str, result: str) -> None:
    (pipelines.path / "pip").write_text(CHECKOUT)
    replaced = {**pipelines.replaced, "RESULTS_PROJECT": "api"}
    trigger = Trigger("1", replaced, pipelines.host.url, tokens=pipelines.tokens)
    workflow = Workflow.of_page(pipelines.page, pipelines.folder, pipelines.path, "split.yml")
    jobs = await workflow.run(trigger, "test", {"3": outcome})
    canceled = [job.result for job in jobs].count("cancelled")
    assert (len(jobs), canceled) == (4, outcome == "canceled")
    (gate,) = await workflow.run(trigger, "gate")
    assert gate.result == result, gate.output
    (found,) = (await pipelines.reports.api.get("/v1/runs/github-1:api/splits"))["data"]
    assert (found["key"], found["total"], found["by_name"]) == ("test", 4, False)
    missing = [each["item"] for each in found["missing_items"]]
    assert bool(missing) is (outcome == "canceled")
    assert all(item in gate.output for item in missing)
