"""A provider for the tests of this folder."""

from tests.oidc.provider import oidc_packages as oidc_packages
from tests.oidc.provider import oidc_provider as oidc_provider
