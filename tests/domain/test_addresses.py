"""The addresses to which webhooks are sent."""

from ipaddress import ip_address

import pytest

from service.domain.addresses import AllowedAddresses
from service.domain.errors import InvalidRequest
from service.outbound.guarded_sessions import AddressNotAllowed, guarded_socket_factory
from service.settings import InvalidSettings, read_settings
from service.webhooks.contract import checked_url

REJECTION = r"is not a public address or in an allowed network \(10\.1\.0\.0/16, fd12::/48\)$"


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> AllowedAddresses:
    monkeypatch.setenv("RESULTS_WEBHOOK_NETWORKS", "10.1.0.0/16, fd12::/48")
    return read_settings().webhook_addresses


@pytest.mark.parametrize("address", ["8.8.8.8", "10.1.2.3", "::ffff:10.1.2.3", "fd12::1", "2606:4700::1111"])
def test_public_addresses_and_allowed_networks_are_allowed(allowed: AllowedAddresses, address: str) -> None:
    assert allowed.contains(ip_address(address))
    assert checked_url(f"https://{f'[{address}]' if ':' in address else address}/hook", allowed)


@pytest.mark.parametrize("address", ["10.2.0.1", "127.0.0.1", "169.254.169.254", "fd13::1", "::ffff:192.168.0.1"])
def test_other_private_addresses_are_rejected(allowed: AllowedAddresses, address: str) -> None:
    assert not allowed.contains(ip_address(address))
    with pytest.raises(InvalidRequest, match=REJECTION) as raised:
        checked_url(f"https://{f'[{address}]' if ':' in address else address}/hook", allowed)
    assert raised.value.param == "url"


def test_connection_to_an_allowed_network_is_possible_and_still_needs_https(allowed: AllowedAddresses) -> None:
    create_socket = guarded_socket_factory(allowed)
    create_socket((2, 1, 6, "", ("10.1.2.3", 443))).close()
    with pytest.raises(AddressNotAllowed, match=REJECTION):
        create_socket((2, 1, 6, "", ("10.2.0.1", 443)))
    with pytest.raises(InvalidRequest, match="must start with https://"):
        checked_url("http://10.1.2.3/hook", allowed)


def test_a_rejection_names_all_allowed_addresses() -> None:
    assert AllowedAddresses().describe_rejection("10.1.2.3") == "10.1.2.3 is not a public address"
    rejection = AllowedAddresses(loopback=True).describe_rejection("10.1.2.3")
    assert rejection == "10.1.2.3 is not a public address or a loopback address"


def test_only_public_addresses_are_allowed_by_default() -> None:
    assert read_settings().webhook_addresses == AllowedAddresses()
    assert not AllowedAddresses().contains(ip_address("10.1.2.3"))


@pytest.mark.parametrize("value", ["10.1.2.3/16", "internal", "10.1.0.0/16;10.2.0.0/16"])
def test_invalid_networks_name_the_setting(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RESULTS_WEBHOOK_NETWORKS", value)
    with pytest.raises(InvalidSettings, match=r"^RESULTS_WEBHOOK_NETWORKS: must be networks, separated by commas"):
        read_settings()
