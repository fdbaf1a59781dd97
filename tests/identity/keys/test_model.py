"""API keys: format, checksum, rotation, expiry, and permissions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from service.domain.ids import OrgId
from service.identity.keys.model import (
    PERMISSIONS,
    KeyRole,
    Permission,
    StoredKey,
    accepts_secret,
    creator_of,
    format_key,
    new_key_id,
    new_secret,
    parse_key,
    permissions_of,
    roles_with,
    secret_digest,
)

NOW = datetime(2026, 5, 20, tzinfo=UTC)


def stored(secret: str) -> StoredKey:
    return StoredKey(OrgId(1), "viewer", None, secret_digest(secret), None, None, None, None)


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        ({"created_by": "key_1"}, "key_1"),
        ({"created_by": "key_1", "created_by_name": None}, "key_1"),
        (
            {"created_by": "key_1", "created_by_name": "created on the command line"},
            'key "created on the command line"',
        ),
        (
            {"created_by": "pub_1", "created_by_name": "GitHub Actions acme/shop"},
            'publisher "GitHub Actions acme/shop"',
        ),
        ({"created_by": "per_1", "created_by_name": "Ann"}, "Ann"),
        ({"created_by": "command line", "created_by_name": None}, "an operator"),
    ],
)
def test_only_people_look_like_people(item: dict[str, str | None], shown: str) -> None:
    assert creator_of(item) == shown


def test_formatted_key_can_be_parsed() -> None:
    key_id, secret = new_key_id(), new_secret()
    assert parse_key(format_key(key_id, secret)) == (key_id, secret)


@pytest.mark.parametrize("position", [0, 5, 30, 60, 70, 76])
def test_checksum_detects_one_changed_character(position: int) -> None:
    key = format_key(new_key_id(), new_secret())
    other = "0" if key[position] != "0" else "1"
    assert parse_key(key[:position] + other + key[position + 1 :]) is None


@pytest.mark.parametrize("text", ["", "zof_", "zof_1_2_3", "Bearer", "zof_" + "0" * 20 + "_" + "a" * 43 + "_00000000"])
def test_malformed_key_is_rejected(text: str) -> None:
    assert parse_key(text) is None


def test_only_the_correct_secret_is_accepted() -> None:
    assert accepts_secret(stored("correct"), "correct", NOW)
    assert not accepts_secret(stored("correct"), "wrong", NOW)


def test_revoked_or_expired_key_is_rejected() -> None:
    assert not accepts_secret(replace(stored("s"), revoked_at=NOW), "s", NOW)
    assert not accepts_secret(replace(stored("s"), expires_at=NOW), "s", NOW)
    assert accepts_secret(replace(stored("s"), expires_at=NOW + timedelta(seconds=1)), "s", NOW)


def test_both_secrets_work_until_the_previous_one_expires() -> None:
    rotated = replace(stored("new"), previous_sha256=secret_digest("old"), previous_expires_at=NOW + timedelta(hours=1))
    assert accepts_secret(rotated, "new", NOW)
    assert accepts_secret(rotated, "old", NOW)
    assert not accepts_secret(rotated, "old", NOW + timedelta(hours=1))


def test_role_of_a_newer_version_has_no_permissions() -> None:
    assert permissions_of(cast("KeyRole", "auditor")) == frozenset()


def test_first_role_with_a_permission_is_the_least_one() -> None:
    least: dict[Permission, KeyRole] = {
        "results:read": "viewer", "reports:create": "uploader", "results:export": "engineer", "keys:manage": "admin",
    }  # fmt: skip
    assert {permission: roles_with(permission)[0] for permission in least} == least


def test_roles_have_their_documented_permissions() -> None:
    assert PERMISSIONS["public"] == {"reports:create_untrusted"}
    assert PERMISSIONS["viewer"] == {"results:read"}
    assert PERMISSIONS["uploader"] == {"results:read", "reports:create"}
    assert PERMISSIONS["engineer"] == {
        "results:read",
        "results:export",
        "reports:create",
        "quarantines:manage",
        "runs:promote",
    }
    assert PERMISSIONS["admin"] == PERMISSIONS["engineer"] | {
        "runs:delete", "projects:manage", "gates:manage", "webhooks:manage", "keys:manage",
    }  # fmt: skip
