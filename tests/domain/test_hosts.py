"""Tests of URLs that list several hosts."""

import pytest

from service.domain.addresses import split_hosts


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("postgresql://a:b@one:1,two/name?x=1", ["postgresql://a:b@one:1/name?x=1", "postgresql://a:b@two/name?x=1"]),
        ("amqp://a:b,c@one,two:2//vhost", ["amqp://a:b,c@one//vhost", "amqp://a:b,c@two:2//vhost"]),
        ("postgresql://[::1]:1,[::2]:2/name", ["postgresql://[::1]:1/name", "postgresql://[::2]:2/name"]),
        ("postgres://postgres", ["postgres://postgres"]),
        ("postgresql:///name?host=/run/postgresql,/tmp", ["postgresql:///name?host=/run/postgresql,/tmp"]),
        ("file:///folder,other", ["file:///folder,other"]),
    ],
)
def test_each_host_has_its_own_url(url: str, urls: list[str]) -> None:
    assert split_hosts(url) == urls
