"""The packages of the provider, which npm installs from the lock file."""

import orjson

from tests.oidc.provider import SOURCE


def test_locked_packages_have_hashes_and_no_addresses() -> None:
    packages = orjson.loads((SOURCE / "package-lock.json").read_bytes())["packages"]
    assert all("integrity" in package and "resolved" not in package for path, package in packages.items() if path)
