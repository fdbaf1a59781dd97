"""The readiness and the log state why the file storage can't be used."""

from pathlib import Path

import pytest

from tests.buckets import delete_bucket, new_bucket
from tests.served import serve


async def test_readiness_and_log_show_that_the_storage_is_missing(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serve(database_url, artifacts_url=(tmp_path / "files").as_uri()) as api:
        (tmp_path / "files").rename(tmp_path / "volume")
        api.resources.storage_health._expires_at = 0
        ready = await api.get("/readyz", key="")
        reason = "the file storage does not exist. Check that its volume is mounted."
        assert (ready["status"], ready["parts"]["storage"]) == ("ready", {"status": "down", "reason": reason})
        log = "".join(capfd.readouterr())
        assert "storage_unreachable" in log
        assert reason in log


async def test_readiness_and_log_name_a_missing_bucket(
    database_url: str, s3_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    url = new_bucket(s3_url)
    delete_bucket(s3_url, url)
    async with serve(database_url, artifacts_url=url) as api:
        log_of_start = "".join(capfd.readouterr())
        reason = "the bucket of the file storage does not exist"
        assert (await api.get("/readyz", key=""))["parts"]["storage"] == {"status": "down", "reason": reason}
    assert url in log_of_start
    assert reason in log_of_start


async def test_unusable_storage_is_logged_at_the_start(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    async with serve(database_url, artifacts_url="s3://bucket"):
        assert "Set AWS_ALLOW_HTTP=true" in "".join(capfd.readouterr())
