"""The types of settings: how the text of a variable is checked and parsed."""

import re
from ipaddress import ip_network
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from service.domain.addresses import Network, split_hosts

_RATE: Final = re.compile(r"off|[1-9]\d{0,8} ?/ ?(second|minute|hour|day)")
_SCOPES: Final = re.compile(r"[!-~]+( [!-~]+)*")
_MAX_RETRIES: Final = 50
_MAX_RETRY_DELAY_S: Final = 30 * 24 * 3600  # the retention of events


def _has_scheme(*schemes: str) -> AfterValidator:
    prefixes = tuple(f"{scheme}://" for scheme in schemes)

    def check(url: str) -> str:
        if not url.startswith(prefixes) or url in prefixes:
            raise ValueError(f"must start with {' or '.join(prefixes)}")
        _check_ports(url)
        return url

    return AfterValidator(check)


def _check_ports(url: str) -> None:
    """Raise ValueError if a port isn't a number, which usually means that a password contains a reserved character."""
    try:
        _ = [urlsplit(each).port for each in split_hosts(url)]
    except ValueError:
        raise ValueError(
            "has an invalid port; in a password, write / as %2F, @ as %40, # as %23, and ? as %3F"
        ) from None


def _check_target(url: str) -> str:
    """Raise ValueError if a process could connect to a standby, which can't write."""
    target = parse_qs(urlsplit(url).query).get("target_session_attrs")
    if len(split_hosts(url)) > 1 and target not in (["read-write"], ["primary"]):
        raise ValueError("lists several hosts; add ?target_session_attrs=read-write")
    return url


def _check_rate(text: str) -> str:
    if not _RATE.fullmatch(text):
        raise ValueError("must be a number per second, minute, hour, or day, such as 100/second, or off")
    return text


def _check_scopes(text: str) -> str:
    if "openid" not in text.split(" ") or not _SCOPES.fullmatch(text):
        raise ValueError("must be scopes, separated by one space, and contain openid, such as openid email profile")
    return text


def _parse_delays(value: object) -> object:
    """Parse seconds separated by commas."""
    if not isinstance(value, str):
        return value
    try:
        delays_s = tuple(float(part) for part in value.split(","))
    except ValueError:
        delays_s = ()
    if not 1 <= len(delays_s) <= _MAX_RETRIES or not all(0 <= delay_s <= _MAX_RETRY_DELAY_S for delay_s in delays_s):
        raise ValueError(f"must be 1 to {_MAX_RETRIES} delays in seconds, separated by commas, such as 5,300,1800")
    return delays_s


def _parse_networks(value: object) -> object:
    """Parse networks separated by commas."""
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be networks, separated by commas, such as 10.1.0.0/16,fd12::/48") from None


DatabaseUrl = Annotated[str, _has_scheme("postgresql", "postgres")]
PrimaryUrl = Annotated[DatabaseUrl, AfterValidator(_check_target)]
BrokerUrl = Annotated[str, _has_scheme("amqp", "amqps")]
FilesUrl = Annotated[str, _has_scheme("file", "s3")]
RedisUrl = Annotated[str, _has_scheme("redis", "rediss")]
WebUrl = Annotated[str, _has_scheme("https", "http")]
Scopes = Annotated[str, AfterValidator(_check_scopes)]
RateLimit = Annotated[str, AfterValidator(_check_rate)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_parse_networks)]
RetryDelays = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_parse_delays)]
