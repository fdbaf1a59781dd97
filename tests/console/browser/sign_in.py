"""Sign-in to the console as a user does."""

from typing import Final

from playwright.async_api import Page, expect

SIGN_IN: Final = "/console/sign-in"


async def sign_in(page: Page, key: str) -> None:
    """Enter the key in the form, and wait for the page after it."""
    await page.goto(SIGN_IN)
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_attached()
