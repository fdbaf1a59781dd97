"""The limit of failed exchanges of ID tokens, which need no key and cost a query and the check of a signature."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

from cachetools import TTLCache

from service.api.http.address_limits import AddressLimit
from service.domain.errors import RateLimitExceeded, Unavailable
from service.domain.token_exchanges import ExchangeRefused

BURST: Final = 100  # failed exchanges of one address, and its exchanges in progress
PER_SECOND: Final = 0.5
_MAX_REFUSED: Final = 10_000
_REFUSED_S: Final = 3_600.0


class FailedExchangeLimit:
    """A limit per client address in this process. An accepted token costs nothing after its exchange.

    Beyond the limit, only authentic tokens are exchanged, so that jobs can continue although another client with the
    same address, such as that of a proxy, sends invalid tokens. A token that was refused gets no exchange for an hour.
    """

    def __init__(self) -> None:
        self._addresses = AddressLimit("too many failed exchanges of ID tokens from this address", BURST, PER_SECOND)
        self._refused: TTLCache[bytes, None] = TTLCache(_MAX_REFUSED, _REFUSED_S)

    @asynccontextmanager
    async def attempt(
        self, address: str | None, token: str, is_authentic: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        """Spend a token of the address during the block, and keep it spent if the block fails.

        `is_authentic` returns whether the ID token is one of an issuer of a publisher, without a query for each token.
        An exchange doesn't fail if a publisher accepts the ID token, or if the service can't decide. Raises
        RateLimitExceeded.
        """
        signed = sha256(token.rpartition(".")[0].encode()).digest()  # others can write the same signature differently
        try:
            self._addresses.check(address)
        except RateLimitExceeded:
            if signed in self._refused or not await is_authentic():
                raise
        self._addresses.spend(address)
        try:
            yield
        except ExchangeRefused as refused:
            if refused.is_authentic:
                self._addresses.give_back(address)
            else:
                self._refused[signed] = None
            raise
        except Unavailable:
            self._addresses.give_back(address)
            raise
        self._addresses.give_back(address)
