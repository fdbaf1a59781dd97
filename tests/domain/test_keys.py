"""The laws of keys: form, checksum, rotation, expiry, permissions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.domain.ids import OrgId
from service.domain.keys import (
    PERMISSIONS,
    StoredKey,
    accepts_secret,
    format_key,
    new_key_id,
    new_secret,
    parse_key,
    secret_digest,
)

NOW = datetime(2026, 5, 20, tzinfo=UTC)


def stored(secret: str) -> StoredKey:
    return StoredKey(OrgId(1), "viewer", None, secret_digest(secret), None, None, None, None)


def test_a_written_key_is_read_back() -> None:
    key_id, secret = new_key_id(), new_secret()
    assert parse_key(format_key(key_id, secret)) == (key_id, secret)


@pytest.mark.parametrize("position", [0, 5, 30, 60, 70, 76])
def test_one_changed_character_is_noticed_without_a_look_up(position: int) -> None:
    key = format_key(new_key_id(), new_secret())
    other = "0" if key[position] != "0" else "1"
    assert parse_key(key[:position] + other + key[position + 1 :]) is None


@pytest.mark.parametrize("text", ["", "zof_", "zof_1_2_3", "Bearer", "zof_" + "0" * 20 + "_" + "a" * 43 + "_00000000"])
def test_what_never_was_a_key_is_none(text: str) -> None:
    assert parse_key(text) is None


def test_only_the_right_secret_is_admitted() -> None:
    assert accepts_secret(stored("right"), "right", NOW)
    assert not accepts_secret(stored("right"), "wrong", NOW)


def test_a_revoked_or_expired_key_is_refused() -> None:
    assert not accepts_secret(replace(stored("s"), revoked_at=NOW), "s", NOW)
    assert not accepts_secret(replace(stored("s"), expires_at=NOW), "s", NOW)
    assert accepts_secret(replace(stored("s"), expires_at=NOW + timedelta(seconds=1)), "s", NOW)


def test_both_secrets_work_until_the_previous_one_expires() -> None:
    rotated = replace(stored("new"), previous_sha256=secret_digest("old"), previous_expires_at=NOW + timedelta(hours=1))
    assert accepts_secret(rotated, "new", NOW)
    assert accepts_secret(rotated, "old", NOW)
    assert not accepts_secret(rotated, "old", NOW + timedelta(hours=1))


def test_roles_include_one_another() -> None:
    assert PERMISSIONS["viewer"] < PERMISSIONS["engineer"] < PERMISSIONS["admin"]
    assert "keys:manage" not in PERMISSIONS["engineer"]
