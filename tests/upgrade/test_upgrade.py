"""An upgrade without a stop: processes of the last release work while the schema changes, and next to new processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.database import migrations
from tests.fixtures.broker import Broker
from tests.run_events import run_event
from tests.upgrade.versions import Version, create_key, deployment

pytestmark = pytest.mark.slow


async def test_processes_of_the_last_release_continue_during_the_upgrade(
    old: Version, new: Version, broker: Broker
) -> None:
    assert "applied 0001 first_release" in await old.run("schema", "apply")
    key = await create_key(old, "acme")
    async with deployment() as processes:
        old_instance, old_consumer = await processes.serve(old), await processes.consume(old)
        old_api = processes.api(old_instance, key)
        await broker.publish(run_event("before"))
        await old_api.wait_for_runs("before")

        applied = await new.run("schema", "apply")
        assert len(re.findall(r"^applied ", applied, re.MULTILINE)) == len(migrations.all_migrations()) - 1

        await broker.publish(run_event("after"))
        await old_api.send_report("after-report")
        await old_api.wait_for_runs("before", "after", "after-report")
        await old_api.export()

        new_instance, new_consumer = await processes.serve(new), await processes.consume(new)
        new_api = processes.api(new_instance, key)
        mixed = [f"mixed-{number}" for number in range(20)]
        await broker.publish(*map(run_event, mixed))
        for number, api in enumerate((old_api, new_api)):
            await api.send_report(f"report-{number}")
            await api.export()
        for api in (old_api, new_api):
            await api.wait_for_runs("before", "after", "after-report", "report-0", "report-1", *mixed)

        for process in (old_instance, old_consumer):
            await process.stop()
        await broker.publish(run_event("last"))
        await new_api.wait_for_runs("last", "before", "after-report")
        assert await broker.pop_dead_letters() == []
        for process in (new_instance, new_consumer):
            await process.stop()


def test_old_processes_run_the_code_of_the_release(release: Path) -> None:
    program = "import service, consumers; print(service.__file__, consumers.__file__)"
    output = subprocess.run([sys.executable, "-c", program], cwd=release, check=True, capture_output=True, text=True)
    assert [Path(file).is_relative_to(release) for file in output.stdout.split()] == [True, True]
