"""The cookie of a sign-in at the provider: the attempt, and then the ID of a person who has to choose a membership."""

from typing import Final, NamedTuple

from aiohttp import web

from service.domain.sign_ins import LIFETIME

_NAME: Final = "zof_results_sign_in"


class SignInCookie(NamedTuple):
    """The name and the attributes of the cookie. A script can't read it, and no form of another site sends it."""

    name: str
    path: str
    is_secure: bool

    def read(self, request: web.Request) -> str:
        """Return the value, which is empty if the cookie is missing."""
        return request.cookies.get(self.name, "")

    def write(self, response: web.StreamResponse, value: str) -> None:
        """Let the browser store the value for 10 minutes."""
        response.set_cookie(
            self.name,
            value,
            max_age=int(LIFETIME.total_seconds()),
            path=self.path,
            secure=self.is_secure,
            httponly=True,
            samesite="Lax",  # a navigation from the provider sends it
        )

    def delete(self, response: web.StreamResponse) -> None:
        """Let the browser delete the cookie."""
        response.del_cookie(self.name, path=self.path, secure=self.is_secure, httponly=True, samesite="Lax")


SIGN_IN_COOKIE: Final = web.AppKey("sign_in_cookie", SignInCookie)


def sign_in_cookie(*, is_https: bool) -> SignInCookie:
    """Return the cookie. With HTTPS, its prefix ensures that no other host and no insecure page has set it."""
    return SignInCookie(f"__Host-{_NAME}", "/", True) if is_https else SignInCookie(_NAME, "/console/sign-in", False)
