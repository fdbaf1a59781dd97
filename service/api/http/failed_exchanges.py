"""The limit of failed exchanges of ID tokens, which need no key and cost a query and the check of a signature."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.api.http.address_limits import AddressLimit
from service.domain.errors import Unavailable
from service.domain.token_exchanges import ExchangeRefused

BURST: Final = 100  # failed exchanges of one address, and its exchanges in progress
PER_SECOND: Final = 0.5


class FailedExchangeLimit:
    """A limit per client address in this process. An accepted token costs nothing after its exchange."""

    def __init__(self) -> None:
        self._addresses = AddressLimit("too many failed exchanges of ID tokens from this address", BURST, PER_SECOND)

    @contextmanager
    def attempt(self, address: str | None) -> Iterator[None]:
        """Spend a token of the address during the block, and keep it spent if the block fails.

        An exchange doesn't fail if a publisher accepts the ID token, or if the service can't decide. Raises
        RateLimitExceeded.
        """
        self._addresses.check(address)
        self._addresses.spend(address)
        try:
            yield
        except ExchangeRefused as refused:
            if refused.is_authentic:
                self._addresses.give_back(address)
            raise
        except Unavailable:
            self._addresses.give_back(address)
            raise
        self._addresses.give_back(address)
